"""Rows in buckets of time, as a chart wants them: CPU beside that of reading all rows, in the same rounds; and how long the
first chart over HTTP takes, of a program that has just started."""
import time

import bench
import datasets
import harness

BUCKETS = 800
STRIP = 40  # buckets of each of many metrics
CHARTS = 20


def cpu_ms(sample):
    return sample["cpu"] * 1000


def costs(options, report):
    one = datasets.store(*options.sizes.one).warm()
    hundred = datasets.store(*options.sizes.hundred).warm()
    uid = one.uids[0]
    samples = bench.rounds(options.repeats, {
        "summary": lambda: bench.measure("bench_store", "summary", one.url, uid, BUCKETS),
        "rows": lambda: bench.measure("bench_store", "pages", one.url, uid, "time", "anomaly=-1"),
        "strips": lambda: bench.measure("bench_store", "summary", hundred.url, "-", STRIP),
        "all rows": lambda: bench.measure("bench_store", "pages", hundred.url, "-", "metric", "anomaly=-1"),
    })
    cost = {name: bench.values(many, cpu_ms) for name, many in samples.items()}
    report.show(f"  {one.total:,} rows in {samples['summary'][0]['rows']:,.0f} buckets,"
                f" {samples['summary'][0]['bytes'] / 1024:,.0f} KiB, {samples['summary'][0]['pages']:.0f} pages")
    report.compare("summary", "ms CPU", cost["summary"], cost["rows"], "ratio <= 0.2")
    report.compare("summary_strips", "ms CPU", cost["strips"], cost["all rows"], "ratio <= 0.5")


def get_ms(program, path, **headers):
    start = time.perf_counter()
    status, _, body = harness.http_get(program, path, headers)
    if status != 200 or len(body) < 1000:
        raise bench.Failed(f"{path}: {status}, {len(body)} bytes")
    return (time.perf_counter() - start) * 1000


def charts(options, report):
    """The first of a program, and the median of those that follow, each of another range."""
    one = datasets.store(*options.sizes.one).warm()
    begin, end = one.span
    path = f"/_models/{one.uids[0]}/summary?buckets={BUCKETS}"
    first, later = [], []
    for _ in range(options.repeats):
        with bench.up(one) as program:
            first.append(get_ms(program, path))
            took = [get_ms(program, f"{path}&from={begin + (end - begin) // (4 * CHARTS) * number}")
                    for number in range(CHARTS)]
            later.append(sorted(took)[CHARTS // 2])
    report.value("summary_first_chart", "ms", first, "value <= 200")
    report.value("summary_chart", "ms", later, "value <= 100")


def main(options, report):
    costs(options, report)
    charts(options, report)
