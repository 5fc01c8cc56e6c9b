"""The store in PostgreSQL beside the one in SQLite, both with the same rows, and beside PostgreSQL itself: COPY BINARY of a
plain table of those rows. CPU is the client's, which is the worker's share; PostgreSQL's own processes come on top of it,
and their CPU is told too. Appends are of one row, durable (fsync is on), by one write worker and by four."""
import contextlib
import re
import subprocess

import bench
import datasets
import harness
import peers
import postgres

APPENDERS = 32
APPEND_S = 4
ROWS_TABLE = "plain"
SETTINGS = {"shared_buffers": "512MB", "max_wal_size": "8GB", "fsync": "on"}


def per_cpu(sample):
    return sample["rows"] / sample["cpu"]


def server_cpu(sample):
    """Of PostgreSQL's processes."""
    return sample["all_cpu"] - sample["process_cpu"]


def per_wall(sample):
    return sample["rows"] / sample["wall"]


def fill(server, hundred):
    """The same rows as a store of ours, and as a table of a row a row."""
    url = server.url("metricmq")
    bench.run([bench.tool("bench_fill"), "store", url, hundred.metrics, hundred.rows, datasets.SEED])
    server.sql(f"CREATE TABLE {ROWS_TABLE} (uid text COLLATE \"C\", timestamp bigint, value float8, anomaly_score float8,"
               " raw_score float8, rowid bigint)", database="metricmq")
    with peers.generated("csv", hundred) as rows:
        server.sql(f"COPY {ROWS_TABLE} FROM STDIN (FORMAT csv)", database="metricmq", stdin=rows.stdout)
    server.sql(f"ALTER TABLE {ROWS_TABLE} ADD PRIMARY KEY (uid, timestamp, rowid)", f"VACUUM (ANALYZE, FREEZE) {ROWS_TABLE}",
               "VACUUM (ANALYZE)", "CHECKPOINT", database="metricmq")
    return url


def reads(options, report, server, hundred, url):
    local = hundred.warm().url
    copy = f"COPY (SELECT uid, timestamp, value, anomaly_score, rowid FROM {ROWS_TABLE}) TO STDOUT (FORMAT binary)"
    samples = bench.rounds(options.repeats, {
        "scan": lambda: bench.measure("bench_store", "scan", url),
        "scan sqlite": lambda: bench.measure("bench_store", "scan", local),
        "metrics": lambda: bench.measure("bench_store", "pages", url, "-", "metric", "-"),
        "metrics sqlite": lambda: bench.measure("bench_store", "pages", local, "-", "metric", "-"),
        "time": lambda: bench.measure("bench_store", "pages", url, "-", "time", "-"),
        "time sqlite": lambda: bench.measure("bench_store", "pages", local, "-", "time", "-"),
        "day": lambda: bench.measure("bench_store", "day", url, options.sizes.queries),
        "day sqlite": lambda: bench.measure("bench_store", "day", local, options.sizes.queries),
        "copy": lambda: bench.measure("bench_postgres", "copy", url, copy),
    })
    queries = options.sizes.queries
    servers = bench.rounds(options.repeats, {
        "scan": lambda: peers.beside_tree(server.pid, lambda: bench.measure("bench_store", "scan", url)),
        "day": lambda: peers.beside_tree(server.pid, lambda: bench.measure("bench_store", "day", url, queries)),
    })
    report.value("engines_server_row", "ns CPU", [server_cpu(sample) / sample["rows"] * 1e9 for sample in servers["scan"]])
    report.value("engines_server_day", "us CPU", [server_cpu(sample) / queries * 1e6 for sample in servers["day"]])
    for name, goal in ("scan", "ratio >= 0.6"), ("metrics", "ratio >= 0.6"), ("time", "ratio >= 0.6"), ("day", None):
        report.compare(f"engines_{name}", "rows/s CPU", bench.values(samples[name], per_cpu),
                       bench.values(samples[f"{name} sqlite"], per_cpu), goal)
    report.compare("engines_scan_copy", "rows/s", bench.values(samples["scan"], per_wall),
                   bench.values(samples["copy"], per_wall), "ratio >= 10")
    report.compare("engines_metrics_copy", "rows/s", bench.values(samples["metrics"], per_wall),
                   bench.values(samples["copy"], per_wall))


def many(options, report, server, metrics):
    """Of many metrics a merge reads a few rows at a time, by turns."""
    url, local = server.url("many"), metrics.warm().url
    bench.run([bench.tool("bench_fill"), "store", url, metrics.metrics, metrics.rows, datasets.SEED])
    server.sql("VACUUM (ANALYZE)", "CHECKPOINT", database="many")
    samples = bench.rounds(options.repeats, {
        f"{name}{at}": lambda of=of, more=more: bench.measure("bench_store", "pages", of, "-", "time", more)
        for at, of in (("", url), (" sqlite", local)) for name, more in (("all", "-"), ("last", "limit=1"))})
    for name in "all", "last":
        report.compare(f"engines_many_{name}", "rows/s", bench.values(samples[name], per_wall),
                       bench.values(samples[f"{name} sqlite"], per_wall))


@contextlib.contextmanager
def writers(url, count):
    """A broker and so many write workers: its endpoint for clients, their pids."""
    with contextlib.ExitStack() as stack:
        broker = stack.enter_context(bench.broker())
        workers = [stack.enter_context(harness.Program("worker", "write", "--store", url, "--connect",
                                                       broker.ready["workers"])) for _ in range(count)]
        yield broker.ready["clients"], [worker.process.pid for worker in workers]


def appends(server, url, count):
    with writers(url, count) as (endpoint, pids):
        before = sum(map(bench.cpu_seconds, pids)), peers.tree_seconds(server.pid)
        done = subprocess.run([bench.tool("bench_appenders"), "rows", str(APPENDERS), endpoint, str(APPEND_S)],
                              capture_output=True, text=True, check=True)
        after = sum(map(bench.cpu_seconds, pids)), peers.tree_seconds(server.pid)
    sample = {key: float(value) for key, value in re.findall(r"(\w+)=([\d.]+)", done.stdout)}
    worker, engine = ((late - early) / sample["requests"] * 1e6 for early, late in zip(before, after))
    return {**sample, "worker_us": worker, "server_us": engine}


def writes(options, report, server):
    url = server.url("appends")
    samples = bench.rounds(options.repeats, {"one": lambda: appends(server, url, 1), "four": lambda: appends(server, url, 4)})
    report.value("engines_append", "us CPU", [sample["worker_us"] for sample in samples["one"]])
    report.value("engines_server_append", "us CPU", [sample["server_us"] for sample in samples["one"]])
    report.compare("engines_appends_four_writers", "rows/s", [sample["rate"] for sample in samples["four"]],
                   [sample["rate"] for sample in samples["one"]], "ratio >= 1")
    sent = sum(sample["requests"] for many in samples.values() for sample in many)
    there = int(server.sql("SELECT sum(last_rowid) FROM metricmq.metric", database="appends"))
    if there < sent:
        raise bench.Failed(f"{sent:.0f} appends were acknowledged, and there are {there} rows")


def main(options, report):
    hundred = datasets.store(*options.sizes.hundred)
    with postgres.Server(SETTINGS) as server:
        url = fill(server, hundred)
        reads(options, report, server, hundred, url)
        many(options, report, server, datasets.store(*options.sizes.engines_many))
        writes(options, report, server)
