"""One client floods the query workers with dumps of whole metrics; ten others ask for last values. What the others
see, alone and beside a flood of 1,000 and of 10,000 dumps; the reference is what they see alone and twice the time
that a worker takes for one page of a dump, alone and (busy) in the flood."""
import contextlib
import subprocess
import time

import msgpack

import bench
import bus
import datasets
import harness

PINNED = False  # clients and servers have a CPU each, as they would
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


def flood_page_ms(program, seconds):
    """The wall time that a page of the flood takes at one of its threads, before there is anybody else."""
    before, start = query_stats(program), time.monotonic()
    time.sleep(seconds)
    after, took = query_stats(program), time.monotonic() - start
    return (THREADS - 1) * took / (after["requests"] - before["requests"]) * 1000


def beside_flood(program, seconds):
    """What the others see while the flood is there, and still is at the end."""
    page = flood_page_ms(program, seconds / 4)
    figures = others(program, seconds)
    if query_stats(program)["queued"] == 0:
        raise bench.Failed("the flood was over too soon")
    return {**figures, "page": page}


def others(program, seconds):
    report = bench.load(*bench.connected(program), "--mix", "small=1", "--clients", 10, "--concurrency", 10,
                        "--duration", f"{seconds * 1000:.0f}ms", "--seed", 1)
    total = report["total"]
    return {"p99": total["latency_ms"]["p99"], "errors": sum(total["errors"].values())}


def page_ms(program, seconds):
    """Service time of a page: one reader of whole metrics, alone."""
    report = bench.load(*bench.connected(program), "--mix", "dump=1", "--clients", 1, "--concurrency", 1,
                        "--duration", f"{seconds * 1000:.0f}ms", "--seed", 1)
    return 1000 / report["total"]["pages_per_second"]


def main(options, report):
    seconds = options.seconds or (1 if options.quick else 4)
    floods = FLOODS[:1] if options.quick else FLOODS
    runs = {name: [] for name in ("alone", *floods)}
    pages = []
    with bench.up(datasets.store(*options.sizes.hundred).warm(), "--threads", THREADS) as program:
        for _ in range(min(options.repeats, 3)):
            pages.append(page_ms(program, seconds / 2))
            runs["alone"].append(others(program, seconds))
            for count in floods:
                with flood(program, count):
                    runs[count].append(beside_flood(program, seconds))
    alone = bench.values(runs["alone"], lambda run: run["p99"])
    report.value("fairness_page", "ms", pages)
    report.value("fairness_alone_p99", "ms", alone)
    for count in floods:
        p99 = bench.values(runs[count], lambda run: run["p99"])
        bound = [best + 2 * page for best, page in zip(alone, pages)]
        busy = [best + 2 * run["page"] for best, run in zip(alone, runs[count])]
        report.compare(f"fairness_{count}_p99", "ms", p99, bound, "ratio <= 1")
        report.compare(f"fairness_{count}_p99_busy", "ms", p99, busy)
        report.value(f"fairness_{count}_refused", "requests", bench.values(runs[count], lambda run: run["errors"]),
                     "value <= 0")
