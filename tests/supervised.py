"""Work that goes on while the roles of a machine (machine.py) or of a small service manager (roles.py) are killed, and
what must come of it.

All that the client library asks must succeed: streams that are compared byte by byte (tools/bus_readers.c), `metricmq
import` and `metricmq feedback`, each a process of its own. Beside it, clients that know docs/protocol.md alone append rows
and ask for dumps, again until they are answered. At the end every acknowledged row must be there once, and every accepted
dump be one object with the right bytes.
"""
import base64
import calendar
import http.client
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import threading
import time

sys.path.append(str(pathlib.Path(__file__).resolve().parent / "faults"))

import bus  # noqa: E402
import dumps  # noqa: E402
import harness  # noqa: E402
import house  # noqa: E402
import kills  # noqa: E402
import stand  # noqa: E402

UNITS = [f"metricmq-{role}.service" for role in ("broker", "write", "query", "feedback", "http")]
KEY = "a-key-that-a-credential-holds"
TRY_S = 2  # how long a stock client waits before it asks again


def install(machine):
    """The roles' configuration: on a loopback address of the test's own, and HTTP with a key that systemd hands over."""
    address = harness.LOCAL.removeprefix("tcp://").rsplit(":", 1)[0]
    for role in ("write", "query", "feedback"):
        machine.write(f"/etc/metricmq/{role}.env", f"METRICMQ_CONNECT=tcp://{address}:5751\n", 0o600)
    for role in ("broker", "metricmq"):
        machine.write(f"/etc/metricmq/{role}.env", f"METRICMQ_BIND=tcp://{address}:5750\n"
                                                   f"METRICMQ_BIND_WORKERS=tcp://{address}:5751\n"
                                                   f"METRICMQ_HTTP={address}:8080\n", 0o600)
    machine.write("/etc/metricmq/http.env", f"METRICMQ_HTTP={address}:8080\n", 0o600)
    machine.write("/etc/metricmq/http.conf", f"api-key = {KEY}\nconnect = tcp://{address}:5750\n", 0o600)
    machine.write("/etc/systemd/system/metricmq-http.service.d/credential.conf",
                  "[Service]\nLoadCredential=config:/etc/metricmq/http.conf\nEnvironment=METRICMQ_CONFIG=%d/config\n")
    return f"tcp://{address}:5750", f"http://{address}:8080"


def environment(folder):
    """The same for Roles: endpoint, url and the variables of each unit."""
    address = harness.LOCAL.removeprefix("tcp://").rsplit(":", 1)[0]
    file = folder / "http.conf"
    file.write_text(f"api-key = {KEY}\nconnect = tcp://{address}:5750\n")
    file.chmod(0o600)
    worker = {"METRICMQ_CONNECT": f"tcp://{address}:5751"}
    variables = [{"METRICMQ_BIND": f"tcp://{address}:5750", "METRICMQ_BIND_WORKERS": worker["METRICMQ_CONNECT"]}, worker,
                 worker, worker, {"METRICMQ_HTTP": f"{address}:8080", "METRICMQ_CONFIG": str(file)}]
    return f"tcp://{address}:5750", f"http://{address}:8080", dict(zip(UNITS, variables))


def basic(key):
    return {"Authorization": "Basic " + base64.b64encode(f"{key}:".encode()).decode()}


class Worker(threading.Thread):
    """One client: `once` again and again until told to stop; what it raises is raised again by `finish`."""

    def __init__(self, work, name):
        super().__init__(daemon=True, name=name)
        self.work, self.random, self.error = work, random.Random(work.random.random()), None
        self.done = 0
        self.longest_s = 0.0

    def run(self):
        try:
            while not self.work.stopping.wait(self.random.uniform(0, 0.1)):
                began = time.monotonic()
                self.once()
                self.done += 1
                self.longest_s = max(self.longest_s, time.monotonic() - began)
        except BaseException as error:  # it must not vanish with the thread
            self.error = error

    def finish(self):
        self.join(120)
        if self.error:
            raise AssertionError(f"{self.name}: {self.error!r}") from self.error
        assert not self.is_alive(), f"{self.name} hangs"


class Appender(Worker):
    """A stock client: appends rows, each batch again until it is acknowledged, under its first rowid."""

    def __init__(self, work, number):
        super().__init__(work, f"stock writer {number}")
        self.uid, self.rows = f"appended{number}", []  # acknowledged ones
        with bus.Bus(work.endpoint, timeout=TRY_S) as client:
            self.ask(client, {"op": "create", "metric": {"uid": self.uid, "datasource": "custom", "name": self.uid}})

    def ask(self, client, body):
        end = time.monotonic() + 30
        while True:
            try:
                return client.call("metric.write", {**body, "timeout": TRY_S * 1000})
            except TimeoutError:
                self.work.asked_again += 1
            except bus.Refused as refused:
                self.work.asked_again += 1
                if refused.status not in (503, 504):
                    raise
            assert time.monotonic() < end, f"{self.name}: not acknowledged"
            time.sleep(0.02)  # as a client does that is told to come back

    def once(self):
        more = [(1400000000 + len(self.rows) + n, self.random.gauss(0, 1), self.random.random(), self.random.random())
                for n in range(self.random.randint(1, 50))]
        with bus.Bus(self.work.endpoint, timeout=TRY_S) as client:
            self.ask(client, {"op": "append", "uid": self.uid, "first_rowid": len(self.rows) + 1,
                              "rows": bus.pack_rows(more)})
        self.rows += more


class Importer(Worker):
    """`metricmq import`: a file each time, which must succeed at once."""

    def __init__(self, work):
        super().__init__(work, "metricmq import")
        self.rows = {}  # by uid

    def once(self):
        rows = list(dumps.source_rows(self.random, self.random.randint(1, 3000)))
        path = self.work.folder / f"imported{self.done}.csv"
        dumps.write_csv(path, rows, True)
        done = harness.run("import", "--connect", self.work.endpoint, path)
        path.unlink()
        uid, _, count = done.out.split()[:3]
        assert int(count) == len(rows), done.out
        self.rows[uid] = rows


class Dumper(Worker):
    """`metricmq feedback`, which must succeed at once."""

    def __init__(self, work):
        super().__init__(work, "metricmq feedback")
        self.accepted = {}

    def once(self):
        uid, number = self.random.choice(self.work.uids), str(self.done)
        done = harness.run("feedback", uid, "--connect", self.work.endpoint, "--extra", f"number={number}",
                           "--extra", "client=the library")
        key = done.out.strip()
        assert key not in self.accepted, f"{key} was told twice"
        self.accepted[key] = (uid, {"number": number, "client": "the library"})


class Visitor(Worker):
    """A client of HTTP: reads, makes metrics with rows, asks for dumps. All that it is told is success. Its connection may
    end only if the adapter itself was killed; then it posts rows again, as docs/http.md says, and leaves the dump be."""

    def __init__(self, work):
        super().__init__(work, "HTTP client")
        self.ready = {"http": work.url}
        self.broken = 0
        self.headers = basic(KEY)
        self.rows = {}  # acknowledged, by uid
        self.accepted = {}  # dumps
        self.doubtful = {}  # (uid, extra) by number: nobody told their keys

    def ask(self, path, **options):
        """Status and body; None if the adapter went away with the connection."""
        killed = self.work.http_kills
        excused = self.work.http_away
        try:
            status, _, body = harness.http_get(self, path, self.headers, **options)
        except (OSError, http.client.HTTPException):
            if not excused and self.work.http_kills == killed:
                raise
            self.broken += 1
            return None
        return status, body

    def once(self):
        self.random.choice([self.read, self.read, self.post, self.dump])()

    def read(self):
        answer = self.ask(f"/_models/{self.random.choice(self.work.uids)}/data?limit=5")
        assert answer is None or answer[0] == 200, answer

    def post(self):
        uid = f"posted{self.done}"
        rows = [(1400000000 + 60 * n, self.random.gauss(0, 1)) for n in range(self.random.randint(1, 50))]
        body = json.dumps({"uid": uid, "datasource": "custom", "metric": uid, "data": [
            [value, time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(when))] for when, value in rows]})
        answer = None
        end = time.monotonic() + 60
        while answer is None and time.monotonic() < end:
            answer = self.ask("/_models", method="POST", body=body)
            if answer is None:
                time.sleep(0.02)  # as a client does whose connection was refused
        assert answer is not None and answer[0] == 201, answer
        self.rows[uid] = [(when, value, None) for when, value in rows]

    def dump(self):
        uid, extra = self.random.choice(self.work.uids), {"number": self.done, "client": "HTTP"}
        answer = self.ask("/_logging/feedback", method="POST", body=json.dumps({"uid": uid, **extra}))
        if answer is None:
            self.doubtful[self.done] = (uid, extra)
            return
        assert answer[0] in (200, 202), answer
        assert answer[1] not in self.accepted, f"{answer[1]} was told twice"
        self.accepted[answer[1].decode()] = (uid, extra)


class Load:
    """`metricmq load`: so many requests a second, whose answers it checks."""

    def __init__(self, endpoint, rate):
        self.process = subprocess.Popen([harness.PROGRAM, "load", "--connect", endpoint, "--rate", str(rate), "--json",
                                         "--warmup", "0", "--duration", "1h"], stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True)

    def finish(self):
        """How many were answered: all that were asked."""
        self.process.send_signal(signal.SIGINT)
        out, errors = self.process.communicate(timeout=60)
        report = json.loads(out) if out else {}
        assert self.process.returncode == 0, (errors, {key: value for key, value in report.items() if key != "seconds"})
        return report["total"]["good"]

    def abandon(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.communicate()


class Work:
    """All of them; `chance` seeds them. rate: of `metricmq load`, a second; 0: none."""

    def __init__(self, machine, folder, endpoint, url, chance, rate=0):
        self.machine, self.folder, self.endpoint, self.url, self.random = machine, folder, endpoint, url, chance
        self.stopping = threading.Event()
        self.asked_again = self.http_kills = 0
        self.http_away = False
        self.known = stand.Data(folder, chance, rows=2000)
        self.wanted = {}  # SHA-256 of metric_data.csv, by uid
        self.load_known()
        uids = sorted(self.known.metrics)
        plan = self.known.short_plan() + [self.known.entry(uid=uid, anomaly=-1, max_bytes=20_000) for uid in uids]
        self.readers = stand.Readers(endpoint, self.known, plan, 4, pause_ms=5)
        self.appenders = [Appender(self, number) for number in range(2)]
        self.importer, self.dumper, self.visitor = Importer(self), Dumper(self), Visitor(self)
        self.workers = [*self.appenders, self.importer, self.dumper, self.visitor]
        self.asker = kills.Asker(endpoint, self.uids, 1, random.Random(chance.random()), self.stopping, 0.2, patience_s=2 * TRY_S)
        self.load = Load(endpoint, rate) if rate else None
        for worker in self.workers:
            worker.start()

    def load_known(self):
        """Metrics to be read, and metrics to be dumped."""
        files = sorted(self.folder.glob("metric_*.csv"))
        harness.run("import", "--connect", self.endpoint, *files)
        self.uids = []
        for number in range(3):
            rows, path = list(dumps.source_rows(self.random, 200)), self.folder / f"dumped{number}.csv"
            dumps.write_csv(path, rows, True)
            self.uids.append(harness.run("import", "--connect", self.endpoint, path).out.split()[0])
            self.wanted[self.uids[-1]] = dumps.digest(dumps.wanted_csv(self.uids[-1], rows, True))

    def kill(self, unit, number=signal.SIGKILL):
        """Has systemd start the unit again; seconds until it was ready."""
        is_http = unit == "metricmq-http.service"
        self.http_away = self.http_away or is_http
        self.http_kills += is_http
        since_s = self.machine.kill(unit, number)
        again_s = self.machine.wait_again(unit, since_s)
        self.http_away = self.http_away and not is_http
        self.look()
        return again_s

    def look(self):
        """Raises what went wrong with a client so far."""
        for worker in [*self.workers, self.asker]:
            if worker.error:
                raise AssertionError(f"{worker.name}: {worker.error!r}") from worker.error
        assert self.readers.process.poll() is None, "".join(self.readers.lines[-20:])

    def finish(self):
        """Ends all; then everything must be there once. Returns what was done."""
        self.stopping.set()
        asked = self.load.finish() if self.load else 0
        streams, longest_s = self.readers.finish()
        for worker in self.workers:
            worker.finish()
        self.asker.join(120)
        if self.asker.error:
            raise self.asker.error
        self.check_rows()
        self.check_dumps()
        self.machine.check()
        longest_s = max([longest_s, *(worker.longest_s for worker in self.workers)])
        return {"answers of metricmq load": asked, "streams of the library": streams, "imports": self.importer.done,
                "rows acknowledged": sum(len(worker.rows) for worker in self.appenders)
                + sum(map(len, self.importer.rows.values())),
                "rows acknowledged over HTTP": sum(map(len, self.visitor.rows.values())), "feedback of the library": self.dumper.done,
                "feedback of stock clients": len(self.asker.accepted), "feedback over HTTP": len(self.visitor.accepted),
                "requests of HTTP": self.visitor.done,
                "HTTP connections that ended with the adapter": self.visitor.broken,
                "times that stock writers asked again": self.asked_again, "longest, s": longest_s}

    def check_rows(self):
        wanted = {worker.uid: [row[:3] for row in worker.rows] for worker in self.appenders}
        for uid, rows in self.importer.rows.items():
            wanted[uid] = [(calendar.timegm(time.strptime(when, "%Y-%m-%d %H:%M:%S")), value, score)
                           for when, value, score, _ in rows]
        wanted.update(self.visitor.rows)
        with bus.Bus(self.endpoint) as client:
            for uid, rows in wanted.items():
                found = bus.rows_of(client.stream({"op": "data", "uid": uid, "anomaly": -1}))
                found.sort(key=lambda row: row[4])
                assert [row[4] for row in found] == list(range(1, len(rows) + 1)), f"rows of {uid} are lost or doubled"
                assert [row[1:4] for row in found] == rows, f"rows of {uid} are others"

    def check_dumps(self):
        spool = self.machine.data() / "spool"
        harness.wait_until(lambda: os.listdir(spool) == ["quarantine"], 60, "an empty spool")
        assert not os.listdir(spool / "quarantine")
        told = [self.asker.accepted, self.dumper.accepted, self.visitor.accepted]
        accepted = {key: dump for some in told for key, dump in some.items()}
        assert len(accepted) == sum(map(len, told)), "a key was told twice"
        store, doubtful = house.FileStore(spool.parent / "uploads"), dict(self.visitor.doubtful)
        for key, data in store.objects().items():
            about = dumps.summary(data)[0] if key not in accepted else {}
            if about.get("client") == "HTTP" and about["number"] in doubtful:  # at most once
                accepted[key] = doubtful.pop(about["number"])
        house.check_objects(store, accepted, self.wanted)

    def abandon(self):
        """The case has failed: ends what is a process or a thread."""
        self.stopping.set()
        self.readers.abandon()
        if self.load:
            self.load.abandon()
