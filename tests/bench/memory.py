"""Memory of `up` while answers of very different sizes are read: it must not grow with them."""
import bench
import datasets

MIB = 1 << 20


def read_all(store):
    """The most that `up` held after each way to read everything, in MiB."""
    peaks = {}
    with bench.up(store) as program:
        url = program.ready["http"].rstrip("/") + "/_models/data"
        ways = {"bus": lambda: bench.measure("bench_reader", "drop", program.ready["clients"], "-"),
                "http": lambda: bench.curl(url, bench.OCTETS), "json": lambda: bench.curl(url)}
        for way, work in ways.items():
            program.reset_peak()
            work()
            peaks[way] = program.peak() / MIB
    return peaks


def main(options, report):
    sizes = options.sizes.memory
    peaks = [read_all(datasets.store(*size)) for size in sizes]
    report.show("  " + ", ".join(f"{metrics * rows:,}" for metrics, rows in sizes) + " rows")
    for way in ("bus", "http", "json"):
        report.compare(f"memory_{way}", "MiB", [peaks[-1][way]], [peaks[0][way]], "ratio <= 1.2")
