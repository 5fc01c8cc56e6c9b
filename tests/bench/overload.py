"""Twice and five times what the workers can do: how much of the peak is left, how soon refusals come, and whether
what was accepted is answered in time. Echo workers that take 2 ms each are the limit, not the CPUs."""
import bench

PINNED = False  # clients and servers have a CPU each, as they would
WORKERS, SERVICE_MS, TIMEOUT_MS = 8, 2, 1000


def offer(program, seconds, *args):
    report = bench.load("--op", "echo", *bench.connected(program), "--clients", 50, "--timeout", f"{TIMEOUT_MS}ms",
                        "--duration", f"{seconds * 1000:.0f}ms", *args)
    total = report["total"]
    return {"goodput": total["goodput_per_second"], "p99": total["latency_ms"]["p99"],
            "refused_p99": total["refused_ms"]["p99"],
            "late": sum(count for kind, count in total["errors"].items() if kind != "503"),
            "unanswered": report["never_answered"]}


def main(options, report):
    seconds = options.seconds or (1 if options.quick else 4)
    runs = {"peak": [], 2: [], 5: []}
    with bench.broker() as program, bench.echo_workers(program, "--workers", WORKERS, "--service-time",
                                                       f"{SERVICE_MS}ms"):
        for _ in range(min(options.repeats, 3)):
            runs["peak"].append(offer(program, seconds, "--concurrency", 64))
            peak = runs["peak"][-1]["goodput"]
            for times in (2, 5):
                runs[times].append(offer(program, seconds, "--rate", f"{times * peak:.0f}"))
    peak = bench.values(runs["peak"], lambda run: run["goodput"])
    for times in (2, 5):
        def of(key):
            return bench.values(runs[times], lambda run: run[key])

        report.compare(f"overload_{times}x_goodput", "good/s", of("goodput"), peak, "ratio >= 0.8")
        report.value(f"overload_{times}x_p99", "ms", of("p99"), f"value <= {TIMEOUT_MS}")
        report.value(f"overload_{times}x_refused_p99", "ms", of("refused_p99"))
        report.value(f"overload_{times}x_errors", "requests", [late + lost for late, lost in
                                                               zip(of("late"), of("unanswered"))])
