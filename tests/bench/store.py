"""Reading the store in one process, without a bus: columns, pages, single queries, anomalies."""
import bench
import datasets


def read(*args):
    return lambda: bench.measure(*args)


def rate(sample):
    return sample["rows"] / sample["cpu"] / 1e6


def wall_rate(sample):
    return sample["rows"] / sample["wall"] / 1e6


def scans(options, report):
    hundred = datasets.store(*options.sizes.hundred).warm()
    rows = datasets.clustered(*options.sizes.hundred).warm()
    columns = 4 * 8 * hundred.total  # time, rowid, value, score
    samples = bench.rounds(options.repeats, {
        "clustered": read("bench_clustered", "scan", rows.path, rows.metrics),
        "scan": read("bench_store", "scan", hundred.url),
        "memcpy": read("bench_floor", "memcpy", columns),
        "pages": read("bench_store", "pages", hundred.url, hundred.uids[0], "time", "-"),
        "metrics": read("bench_store", "pages", hundred.url, "-", "metric", "-"),
        "merge": read("bench_store", "pages", hundred.url, "-", "time", "-"),
    })
    for sample in samples["memcpy"]:
        sample["rows"] = hundred.total
    rates = {name: bench.values(many, rate) for name, many in samples.items()}
    walls = {name: bench.values(many, wall_rate) for name, many in samples.items()}
    report.compare("store_scan", "Mrows/CPU s", rates["scan"], rates["clustered"], "ratio >= 12")
    report.compare("store_scan_wall", "Mrows/s", walls["scan"], walls["clustered"])
    report.compare("store_scan_memcpy", "Mrows/CPU s", rates["scan"], rates["memcpy"])
    report.compare("worker_frames", "Mrows/CPU s", rates["metrics"], rates["clustered"], "ratio >= 6.5")
    report.compare("worker_frames_wall", "Mrows/s", walls["metrics"], walls["clustered"])
    report.compare("worker_frames_merge", "Mrows/CPU s", rates["merge"], rates["clustered"])


def queries(options, report):
    hundred = datasets.store(*options.sizes.hundred).warm()
    rows = datasets.clustered(*options.sizes.hundred).warm()
    count = options.sizes.queries
    samples = bench.rounds(options.repeats, {
        "clustered": read("bench_clustered", "day", rows.path, rows.metrics, count),
        "day": read("bench_store", "day", hundred.url, count),
        "last": read("bench_store", "last", hundred.url, count),
        "answer day": read("bench_store", "answer-day", hundred.url, count),
        "answer last": read("bench_store", "answer-last", hundred.url, count),
    })
    cost = {name: bench.values(many, lambda sample: sample["cpu"] / count * 1e6) for name, many in samples.items()}
    report.compare("store_day", "us CPU", cost["day"], cost["clustered"], "value <= 25")
    report.value("store_last", "us CPU", cost["last"], "value <= 10")
    report.compare("worker_day", "us CPU", cost["answer day"], cost["day"])
    report.compare("worker_last", "us CPU", cost["answer last"], cost["last"])


def anomalies(options, report):
    hundred = datasets.store(*options.sizes.hundred).warm()
    pages = ("bench_store", "pages", hundred.url, "-")
    samples = bench.rounds(options.repeats, {
        "all": read(*pages, "time", "-"), "high": read(*pages, "time", "anomaly=0.9"),
        "all by metric": read(*pages, "metric", "-"), "high by metric": read(*pages, "metric", "anomaly=0.9"),
    })
    cost = {name: bench.values(many, lambda sample: 1 / sample["cpu"]) for name, many in samples.items()}
    share = samples["high"][0]["rows"] / samples["all"][0]["rows"]
    report.show(f"  {share:.2%} of the rows have a score of 0.9 and more")
    report.compare("anomaly", "reads/CPU s", cost["high"], cost["all"], "ratio >= 10")
    report.compare("anomaly_by_metric", "reads/CPU s", cost["high by metric"], cost["all by metric"])


def main(options, report):
    scans(options, report)
    queries(options, report)
    anomalies(options, report)
