#!/usr/bin/python3
"""One client floods the query workers with dumps of whole metrics; ten others ask for last values. What the others
see, alone and beside a flood of 1,000 and of 10,000 dumps, and how long a worker takes for one page of a dump."""
import contextlib
import subprocess
import tempfile

import msgpack

import bench
import bus
import harness

FLOODS = (1_000, 10_000)


@contextlib.contextmanager
def flood(program, count):
    """A client with so many dumps under way, until the block ends."""
    process = subprocess.Popen([harness.PROGRAM, "load", "--json", *bench.connected(program), "--mix", "dump=1",
                                "--clients", "1", "--concurrency", str(count), "--timeout", "300s",
                                "--duration", "600s"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        with_queue(program, count)
        yield
    finally:
        process.kill()
        process.wait()


def with_queue(program, count):
    """Waits until the flood is in the broker's queue."""
    with bus.Bus(program.ready["clients"]) as client:
        def queued():
            stats = msgpack.unpackb(client.mmi("mmi.stats")[1])
            return stats["services"]["metric.query"]["queued"] >= count * 0.8
        harness.wait_until(queued, timeout=60, what="the flood")


def others(program, seconds):
    report = bench.load(*bench.connected(program), "--mix", "small=1", "--clients", 10, "--concurrency", 10,
                        "--duration", f"{seconds * 1000:.0f}ms", "--seed", 1)
    total = report["total"]
    return {"p50": total["latency_ms"]["p50"], "p99": total["latency_ms"]["p99"], "rate": total["per_second"],
            "errors": sum(total["errors"].values())}


def page_ms(program, seconds):
    """Service time of a page: one reader of whole metrics, alone."""
    report = bench.load(*bench.connected(program), "--mix", "dump=1", "--clients", 1, "--concurrency", 1,
                        "--duration", f"{seconds * 1000:.0f}ms", "--seed", 1)
    return 1000 / report["total"]["pages_per_second"]


def show(name, figures):
    print(f"  {name:28} p50 {figures['p50']:8.2f} ms  p99 {figures['p99']:8.2f} ms  {figures['rate']:10,.0f}/s"
          f"  errors {figures['errors']:.0f}")


def main():
    options = bench.arguments(__doc__, repeats=3, seconds=5.0)
    with tempfile.TemporaryDirectory(prefix="metricmq-bench-") as data, harness.up(data) as program:
        harness.run("demo", "--connect", program.ready["clients"], "--metrics", 20, "--rows", 100_000)
        runs = {name: [] for name in ("alone", *FLOODS)}
        pages = []
        for _ in range(options.repeats):
            pages.append({"page": page_ms(program, options.seconds / 2)})
            runs["alone"].append(others(program, options.seconds))
            for count in FLOODS:
                with flood(program, count):
                    runs[count].append(others(program, options.seconds))
        page = bench.medians(pages, ["page"])["page"]
        figures = {name: bench.medians(many, many[0]) for name, many in runs.items()}
        print(f"medians of {options.repeats}; one page of a dump: {page:.2f} ms")
        show("alone", figures["alone"])
        bound = figures["alone"]["p99"] + 2 * page
        for count in FLOODS:
            show(f"beside {count:,} dumps", figures[count])
            print(f"    p99 / (alone + two pages, {bound:.2f} ms) = {figures[count]['p99'] / bound:.2f}")


if __name__ == "__main__":
    main()
