#!/usr/bin/python3
"""1,000 clients and 500 workers on one broker: whether all is answered, the broker's memory, and its descriptors
before and after."""
import bench
import harness


def main():
    options = bench.arguments(__doc__, repeats=1, seconds=20.0)
    for _ in range(options.repeats):
        with bench.broker() as program:
            descriptors, memory = program.descriptors(), program.rss()
            report = bench.load("--op", "echo", *bench.connected(program), "--clients", 1000, "--workers", 500,
                                "--concurrency", 1000, "--duration", f"{options.seconds * 1000:.0f}ms")
            harness.wait_until(lambda: program.descriptors() <= descriptors, what="all descriptors")
            total = report["total"]
            print(f"{total['requests']:,} requests, {total['good']:,} good, never answered {report['never_answered']}, "
                  f"errors {total['errors'] or 'none'}, {total['per_second']:,.0f}/s")
            print(f"broker: {memory >> 20} MiB before, {program.peak() >> 20} MiB at most, {program.rss() >> 20} MiB "
                  f"after; {descriptors} descriptors before, {program.descriptors()} after")


if __name__ == "__main__":
    main()
