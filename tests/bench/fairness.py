#!/usr/bin/python3
"""One client floods the query workers with dumps of whole metrics; ten others ask for last values. What the others
see, alone and beside a flood of 1,000 and of 10,000 dumps, and how long a worker takes for one page of a dump."""
import contextlib
import subprocess
import tempfile
import time

import msgpack

import bench
import bus
import harness

FLOODS = (1_000, 10_000)
THREADS = 3  # of the query worker, of which the flood may hold all but one


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


def query_stats(program):
    with bus.Bus(program.ready["clients"]) as client:
        return msgpack.unpackb(client.mmi("mmi.stats")[1])["services"]["metric.query"]


def with_queue(program, count):
    """Waits until the flood is in the broker's queue."""
    harness.wait_until(lambda: query_stats(program)["queued"] >= count * 0.8, timeout=60, what="the flood")


def beside_flood(program, seconds):
    """What the others see, and the wall time that a page of the flood takes meanwhile at one of its threads."""
    before, start = query_stats(program)["requests"], time.monotonic()
    figures = others(program, seconds)
    took, done = time.monotonic() - start, query_stats(program)["requests"] - before
    pages = done - figures["requests"]
    return {**figures, "page": (THREADS - 1) * took / pages * 1000}


def others(program, seconds):
    report = bench.load(*bench.connected(program), "--mix", "small=1", "--clients", 10, "--concurrency", 10,
                        "--duration", f"{seconds * 1000:.0f}ms", "--seed", 1)
    total = report["total"]
    return {"requests": total["requests"] * (1 + 1 / seconds), "p50": total["latency_ms"]["p50"], "p99": total["latency_ms"]["p99"], "rate": total["per_second"],
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
    with tempfile.TemporaryDirectory(prefix="metricmq-bench-") as data, harness.up(data, "--threads", THREADS) as program:
        harness.run("demo", "--connect", program.ready["clients"], "--metrics", 20, "--rows", 100_000)
        runs = {name: [] for name in ("alone", *FLOODS)}
        pages = []
        for _ in range(options.repeats):
            pages.append({"page": page_ms(program, options.seconds / 2)})
            runs["alone"].append(others(program, options.seconds))
            for count in FLOODS:
                with flood(program, count):
                    runs[count].append(beside_flood(program, options.seconds))
        page = bench.medians(pages, ["page"])["page"]
        figures = {name: bench.medians(many, many[0]) for name, many in runs.items()}
        print(f"medians of {options.repeats}; one page of a dump: {page:.2f} ms")
        show("alone", figures["alone"])
        bound = figures["alone"]["p99"] + 2 * page
        for count in FLOODS:
            show(f"beside {count:,} dumps", figures[count])
            busy = figures["alone"]["p99"] + 2 * figures[count]["page"]
            print(f"    p99 / (alone + two pages) = {figures[count]['p99'] / bound:.2f} with a page alone ({page:.2f} ms),"
                  f" {figures[count]['p99'] / busy:.2f} with a page of the flood ({figures[count]['page']:.2f} ms)")


if __name__ == "__main__":
    main()
