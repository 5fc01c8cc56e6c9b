#!/usr/bin/python3
"""Twice and five times what the workers can do: how much of the peak is left, how soon refusals come, and whether
what was accepted is answered in time. Echo workers that take 2 ms each are the limit, not the CPUs."""
import subprocess

import bench
import harness

WORKERS, SERVICE_MS, TIMEOUT_MS = 8, 2, 1000


def offer(program, seconds, *args):
    report = bench.load("--op", "echo", *bench.connected(program), "--clients", 50, "--timeout", f"{TIMEOUT_MS}ms",
                        "--duration", f"{seconds * 1000:.0f}ms", *args)
    total = report["total"]
    return {"goodput": total["goodput_per_second"], "p99": total["latency_ms"]["p99"],
            "max": total["latency_ms"]["max"], "refused": total["errors"].get("503", 0),
            "refused_p99": total["refused_ms"]["p99"],
            "late": sum(count for kind, count in total["errors"].items() if kind != "503"),
            "unanswered": report["never_answered"]}


def main():
    options = bench.arguments(__doc__, repeats=3, seconds=5.0)
    runs = {"peak": [], 2: [], 5: []}
    with bench.broker() as program:
        workers = subprocess.Popen([harness.PROGRAM, "load", "--clients", "0", "--workers", str(WORKERS),
                                    "--service-time", f"{SERVICE_MS}ms", "--duration", "3600s",
                                    *bench.connected(program)], stdout=subprocess.DEVNULL)
        try:
            for _ in range(options.repeats):
                runs["peak"].append(offer(program, options.seconds, "--concurrency", 64))
                peak = runs["peak"][-1]["goodput"]
                for times in (2, 5):
                    runs[times].append(offer(program, options.seconds, "--rate", f"{times * peak:.0f}"))
        finally:
            workers.terminate()
            workers.wait()
    figures = {name: bench.medians(many, many[0]) for name, many in runs.items()}
    peak = figures["peak"]["goodput"]
    print(f"medians of {options.repeats}; peak (64 under way): {peak:,.0f}/s; timeout {TIMEOUT_MS} ms")
    for times in (2, 5):
        one = figures[times]
        print(f"  {times} times the peak: goodput {one['goodput']:,.0f}/s ({one['goodput'] / peak:.0%}), answers p99 "
              f"{one['p99']:.0f} ms max {one['max']:.0f} ms, {one['refused']:,.0f} refused, p99 after "
              f"{one['refused_p99']:.2f} ms, other errors {one['late']:.0f}, never answered {one['unanswered']:.0f}")


if __name__ == "__main__":
    main()
