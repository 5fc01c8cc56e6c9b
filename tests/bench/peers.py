"""The same rows in PostgreSQL and InfluxDB as Debian has them: all rows, one metric, one day of one metric.

PostgreSQL is set up as it likes best: without fsync, its rows in the order of its key, binary answers and no HTTP.
InfluxDB is as it comes, its log written out. All clients are C programs that keep their connection and drop what
they get. Everything is on one CPU."""
import contextlib
import http.client
import os
import pathlib
import shutil
import signal
import socket
import statistics
import subprocess
import tempfile
import time
import urllib.parse

import bench
import datasets
import harness
import postgres
import small
import svg

POSTGRES_SETTINGS = {"listen_addresses": "127.0.0.1", "shared_buffers": "512MB", "fsync": "off",
                     "synchronous_commit": "off", "autovacuum": "off", "max_wal_size": "8GB", "wal_keep_size": "0"}
INFLUX_CONFIG = """
reporting-enabled = false
bind-address = "127.0.0.1:{rpc}"
[meta]
  dir = "{folder}/meta"
[data]
  dir = "{folder}/data"
  wal-dir = "{folder}/wal"
  query-log-enabled = false
  cache-max-memory-size = "8g"
  cache-snapshot-write-cold-duration = "2s"
[http]
  bind-address = "127.0.0.1:{port}"
  log-enabled = false
  max-row-limit = 0
[monitor]
  store-enabled = false
"""
WRITE_BYTES = 4 << 20  # of one write request to InfluxDB
MSGPACK = "Accept: application/x-msgpack"
DAY_ROWS = 250  # at least, on average: 288, but for gaps
LABELS = {"all": "all metrics", "metric": "one metric"}
COLUMNS = "uid, timestamp, value, anomaly_score, rowid"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def generated(form, store):
    """The rows as text, from a generator that writes into a pipe."""
    return subprocess.Popen([bench.tool("bench_fill"), form, str(store.metrics), str(store.rows),
                             str(datasets.SEED)], stdout=subprocess.PIPE)


@contextlib.contextmanager
def new_folder():
    """A temporary folder."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="metricmq-peer-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def daemon(args, sign, log, **options):
    """A peer's server, until it is told to stop by the signal."""
    with open(log, "wb") as out:
        process = subprocess.Popen([*map(str, args)], stdin=subprocess.DEVNULL, stdout=out, stderr=out, **options)
    try:
        yield process
    finally:
        process.send_signal(sign)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


# ---- processes of processes ------------------------------------------------------------------------------------

def stat(pid):
    """The fields of /proc/PID/stat from the third on."""
    return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def descendants(root):
    found, parents = {root}, {}
    for path in pathlib.Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if path.name.isdigit():
                parents.setdefault(int(stat(path.name)[1]), []).append(int(path.name))
    waiting = [root]
    while waiting:
        children = parents.get(waiting.pop(), [])
        found.update(children)
        waiting += children
    return found


def tree_seconds(root):
    """CPU time of a server and its children, those that ended too (to a hundredth of a second)."""
    seconds = sum(map(int, stat(root)[13:15])) / os.sysconf("SC_CLK_TCK")
    for pid in descendants(root):
        with contextlib.suppress(OSError):  # it has just ended
            seconds += bench.cpu_seconds(pid)
    return seconds


def beside_tree(root, work):
    """As bench.beside; waits for the processes that the server started meanwhile."""
    standing, before = len(descendants(root)), tree_seconds(root)
    done = work()
    harness.wait_until(lambda: len(descendants(root)) <= standing, what="the end of the peer's processes")
    return {**done, "all_cpu": tree_seconds(root) - before + done["process_cpu"]}


# ---- PostgreSQL ------------------------------------------------------------------------------------------------

class Postgres:
    def __init__(self, server, port):
        self.pid = server.pid
        self.sql = server.sql
        self.connection = f"host=127.0.0.1 port={port} user={postgres.USER} dbname=postgres sslmode=disable"

    def fill(self, table, store):
        self.sql(f"CREATE TABLE {table} (uid text COLLATE \"C\", timestamp bigint, value float8, anomaly_score float8,"
                 " raw_score float8, rowid bigint)")
        with generated("csv", store) as rows:
            self.sql(f"COPY {table} FROM STDIN (FORMAT csv)", stdin=rows.stdout)
        self.sql(f"ALTER TABLE {table} ADD PRIMARY KEY (uid, timestamp, rowid)", f"VACUUM (ANALYZE, FREEZE) {table}",
                 "CHECKPOINT")
        if int(self.sql(f"SELECT count(*) FROM {table}")) != store.total:
            raise bench.Failed(f"PostgreSQL does not hold all rows of {table}")

    def copy(self, selection):
        return beside_tree(self.pid, lambda: bench.measure("bench_postgres", "copy", self.connection,
                                                           f"COPY ({selection}) TO STDOUT (FORMAT binary)"))

    def day(self, store, count):
        return bench.measure("bench_postgres", "day", self.connection, count, small.WARMUP, *store.span,
                             *store.uids[:100])


@contextlib.contextmanager
def server_of_postgres():
    port = free_port()
    with postgres.Server({**POSTGRES_SETTINGS, "port": str(port)}) as server:
        yield Postgres(server, port)


# ---- InfluxDB --------------------------------------------------------------------------------------------------

class Influx:
    def __init__(self, process, port):
        self.pid = process.pid
        self.port = port

    def send(self, method, path, body=None):
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=300)) as connection:
            connection.request(method, path, body)
            answer = connection.getresponse()
            text = answer.read()
            if answer.status >= 300 or b'"error"' in text:
                raise bench.Failed(f"InfluxDB: {answer.status} {text[:300]!r}")
            return text

    def fill(self, database, store):
        self.send("POST", "/query?" + urllib.parse.urlencode({"q": f'CREATE DATABASE "{database}"'}))
        with generated("influx", store) as rows:
            rest = b""
            while block := rows.stdout.read(WRITE_BYTES):
                whole, _, rest = (rest + block).rpartition(b"\n")
                self.send("POST", f"/write?db={database}&precision=s", whole)

    def settle(self, folder):
        """Waits until the logs were written out."""
        def logs():
            return sum(path.stat().st_size for path in (folder / "wal").rglob("*.wal"))

        harness.wait_until(lambda: logs() < 1 << 20, 300, "InfluxDB's snapshot")

    def path(self, database, query):
        return "/query?" + urllib.parse.urlencode({"db": database, "epoch": "s", "q": query},
                                                  quote_via=urllib.parse.quote)

    def read(self, database, query, *headers):
        path = self.path(database, query)
        return beside_tree(self.pid, lambda: bench.measure("bench_http", self.port, 1, 1, 0, *headers, lines=[path]))

    def days(self, database, store, count):
        return [self.path(database, f"SELECT value,anomaly_score,rowid FROM sample WHERE uid='{uid}' AND time>={day}s"
                                    f" AND time<={day + 86399}s") for uid, day in small.days(store, count)]


@contextlib.contextmanager
def influx():
    with new_folder() as folder:
        port = free_port()
        config = folder / "influxdb.conf"
        config.write_text(INFLUX_CONFIG.format(folder=folder, port=port, rpc=free_port()))
        with daemon(["influxd", "run", "-config", config], signal.SIGTERM, folder / "log", cwd=folder) as process:
            server = Influx(process, port)
            server.folder = folder

            def ready():
                with contextlib.suppress(OSError):
                    return server.send("GET", "/ping") is not None

            harness.wait_until(ready, 60, "InfluxDB")
            yield server


# ---- the race --------------------------------------------------------------------------------------------------

def fill(peers, sets):
    for peer, server in peers.items():
        start = time.monotonic()
        for name, store in sets.items():
            server.fill(name, store)
        print(f"  {peer} loaded in {time.monotonic() - start:.0f} s", flush=True)
    peers["InfluxDB"].settle(peers["InfluxDB"].folder)


def read_ours(program, path, *headers):
    return bench.beside([program.pid], lambda: bench.measure("bench_http", program.port, 1, 1, 0, *headers, lines=[path]))


def cases_of_rows(ours, theirs, sets):
    uid = sets["large"].uids[0]
    one = f"/_models/{uid}/data"
    fields = "SELECT value,anomaly_score,rowid FROM sample"
    pg, db = theirs["PostgreSQL"], theirs["InfluxDB"]
    return {
        ("all", "metricmq"): lambda: read_ours(ours["every"], "/_models/data", bench.OCTETS),
        ("all", "metricmq json"): lambda: read_ours(ours["every"], "/_models/data"),
        ("all", "PostgreSQL"): lambda: pg.copy(f"SELECT {COLUMNS} FROM every"),
        ("all", "PostgreSQL in order"): lambda: pg.copy(f"SELECT {COLUMNS} FROM every"
                                                        " ORDER BY timestamp DESC, uid, rowid DESC"),
        ("all", "InfluxDB"): lambda: db.read("every", f"{fields} GROUP BY uid", MSGPACK),
        ("all", "InfluxDB json"): lambda: db.read("every", f"{fields} GROUP BY uid"),
        ("metric", "metricmq"): lambda: read_ours(ours["large"], one, bench.OCTETS),
        ("metric", "PostgreSQL"): lambda: pg.copy(f"SELECT {COLUMNS} FROM large WHERE uid = '{uid}'"
                                                  " ORDER BY timestamp, rowid"),
        ("metric", "InfluxDB"): lambda: db.read("large", f"{fields} WHERE uid='{uid}'", MSGPACK),
    }


def cases_of_days(ours, theirs, store, count):
    pg, db = theirs["PostgreSQL"], theirs["InfluxDB"]

    def http_days(port, header, paths):
        return bench.measure("bench_http", port, 1, count, small.WARMUP, header, lines=paths)

    return {
        ("day", "metricmq"): lambda: http_days(ours["large"].port, bench.OCTETS, small.day_paths(store, count)),
        ("day", "PostgreSQL"): lambda: pg.day(store, count),
        ("day", "InfluxDB"): lambda: http_days(db.port, MSGPACK, db.days("large", store, count)),
    }


def race(options):
    sets = {"every": datasets.store(*options.sizes.peers_all).warm(),
            "large": datasets.store(*options.sizes.peers_large).warm()}
    days = max(100, options.sizes.requests // 4)
    with contextlib.ExitStack() as stack:
        theirs = {"PostgreSQL": stack.enter_context(server_of_postgres()), "InfluxDB": stack.enter_context(influx())}
        fill(theirs, sets)
        ours = {name: stack.enter_context(bench.up(store)) for name, store in sets.items()}
        samples = bench.rounds(options.repeats, {
            **cases_of_rows(ours, theirs, sets),
            **cases_of_days(ours, theirs, sets["large"], days)})
    check(samples, sets, days)
    return sets, samples


def check(samples, sets, days):
    """No peer left rows out: PostgreSQL says how many came, of the others each takes at least so many bytes."""
    for what, rows in (("all", sets["every"].total), ("metric", sets["large"].rows)):
        for sample in samples[what, "PostgreSQL"]:
            if sample["rows"] - 1 != rows:  # the trailer comes as one
                raise bench.Failed(f"PostgreSQL answered with {sample['rows'] - 1:.0f} rows of {rows}")
    rows = {"all": sets["every"].total, "metric": sets["large"].rows, "day": days * DAY_ROWS}
    least = {"metricmq": 40, "metricmq json": 20, "InfluxDB": 20, "InfluxDB json": 20}
    for (what, peer), many in samples.items():
        if peer in least and min(sample["bytes"] for sample in many) < least[peer] * rows[what]:
            raise bench.Failed(f"{peer} left rows out of the answer ({what})")
    if min(sample["rows"] for sample in samples["day", "PostgreSQL"]) < rows["day"]:
        raise bench.Failed("PostgreSQL left rows out of the answer (day)")


def main(options, report):
    sets, samples = race(options)
    for what, rows in (("all", sets["every"].total), ("metric", sets["large"].rows)):
        def rates(peer):
            return bench.values(samples[what, peer], lambda sample: rows / sample["wall"])

        def costs(peer):
            return bench.values(samples[what, peer], lambda sample: sample["all_cpu"] / rows * 1e9)

        goals = {"PostgreSQL": "ratio >= 5", "InfluxDB": "ratio >= 20"} if what == "all" else {}
        for peer in ("PostgreSQL", "InfluxDB"):
            name = f"{what}_{peer.lower()}"
            report.compare(name, "rows/s", rates("metricmq"), rates(peer), goals.get(peer))
            report.compare(f"{name}_cpu", "ns CPU/row", costs("metricmq"), costs(peer))
        for peer in ("metricmq", "PostgreSQL", "InfluxDB"):
            rate = statistics.median(rates(peer))
            report.peers.append((f"{LABELS[what]}, {peer}", rate / 1e6, f"{rate / 1e6:.3g}",
                                 svg.GREEN if peer == "metricmq" else svg.GREY))
        if what == "all":
            report.compare("all_postgresql_in_order", "rows/s", rates("metricmq"), rates("PostgreSQL in order"),
                           goals["PostgreSQL"])
            report.compare("all_json_influxdb", "rows/s", rates("metricmq json"), rates("InfluxDB json"))
    p50 = {peer: bench.values(samples["day", peer], lambda sample: sample["p50_us"])
           for peer in ("metricmq", "PostgreSQL", "InfluxDB")}
    report.compare("day_postgresql", "us p50", p50["metricmq"], p50["PostgreSQL"], "ratio <= 1.5")
    report.compare("day_influxdb", "us p50", p50["metricmq"], p50["InfluxDB"], "ratio <= 0.1")
