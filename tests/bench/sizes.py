"""Cost against size: rows of one metric, metrics, and the store that small queries are made in."""
import statistics

import bench
import datasets


def median(options, work, figure):
    return statistics.median(bench.values(bench.rounds(options.curve_repeats, {"": work})[""], figure))


def pages(store, uid, order="time", more="-"):
    return lambda: bench.measure("bench_store", "pages", store.url, uid, order, more)


def ns_per_row(sample):
    return sample["cpu"] / sample["rows"] * 1e9


def by_rows(options, report):
    """One metric: a scan, the worker's frames, and single queries in it."""
    count = options.sizes.queries
    for rows in options.sizes.curve_rows:
        store = datasets.store(1, rows).warm()
        points = {
            ("rows", "store, into columns"): (lambda: bench.measure("bench_store", "scan", store.url), ns_per_row),
            ("rows", "worker, into frames"): (pages(store, store.uids[0]), ns_per_row),
            ("queries", "one day"): (lambda: bench.measure("bench_store", "day", store.url, count),
                                     lambda sample: sample["cpu"] / count * 1e6),
            ("queries", "last row"): (lambda: bench.measure("bench_store", "last", store.url, count),
                                      lambda sample: sample["cpu"] / count * 1e6),
        }
        for (chart, curve), (work, figure) in points.items():
            report.point(chart, curve, rows, median(options, work, figure))


def by_metrics(options, report):
    """The same number of rows in more and more metrics."""
    for metrics, rows in options.sizes.curve_metrics:
        store = datasets.store(metrics, rows).warm()
        for order in ("time", "metric"):
            cost = median(options, pages(store, "-", order), ns_per_row)
            report.point("metrics", f"order {order}", metrics, cost)
            limit = median(options, pages(store, "-", order, "limit=1"), lambda sample: sample["cpu"] * 1000)
            report.point("limit", f"order {order}", metrics, limit)


def main(options, report):
    by_rows(options, report)
    by_metrics(options, report)
    for chart, curves in report.curves.items():
        for curve, points in curves.items():
            few, most = min(points), max(points)
            if chart in ("rows", "queries", "metrics"):
                unit = "us CPU" if chart == "queries" else "ns CPU/row"
                name = f"size_{chart}_{curve.split(',')[0].replace(' ', '_')}"
                report.compare(name, unit, [most[1]], [few[1]])
