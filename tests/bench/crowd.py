"""1,000 clients and 500 workers on one broker: whether all is answered, the broker's memory; its descriptors
are what they were before."""
import bench
import harness

PINNED = False  # clients and servers have a CPU each, as they would


def main(options, report):
    seconds = options.seconds or (2 if options.quick else 20)
    with bench.broker() as program:
        descriptors, memory = program.descriptors(), program.rss()
        found = bench.load("--op", "echo", *bench.connected(program), "--clients", 1000, "--workers", 500,
                           "--concurrency", 1000, "--duration", f"{seconds * 1000:.0f}ms")
        harness.wait_until(lambda: program.descriptors() <= descriptors, what="all descriptors")
        total = found["total"]
        report.show(f"  {total['requests']:,} requests, errors {total['errors'] or 'none'}; broker {memory >> 20} MiB"
                    f" before, {program.rss() >> 20} MiB after")
        report.value("crowd_unanswered", "requests", [found["never_answered"] + total["requests"] - total["good"]],
                     "value <= 0")
        report.value("crowd_rate", "echoes/s", [total["per_second"]])
        report.value("crowd_memory", "MiB", [program.peak() / (1 << 20)])
