"""A stand to try faults at: a broker, workers, a store of known contents, and users of it all.

Roles are the real program, each in a process of its own under a supervisor that starts it again at
the same addresses as soon as it ends. Users are the client library (tests/tools/bus_readers.c) and
stock clients that know docs/protocol.md only. Both compare what they read, byte for byte, with what
the store's contents make it.
"""
import contextlib
import os
import re
import signal
import subprocess
import threading
import time

import msgpack
import zmq

import bus
import harness
import reference
from history import Broken, History, Stream

NAMES = ["names", "uid", "timestamp", "value", "anomaly_score", "rowid"]
BASE = 1500000000
READERS = os.environ.get("METRICMQ_BUS_READERS") or os.path.join(
    os.path.dirname(harness.PROGRAM), "tests", "bus_readers")
SLOWER = 4 if harness.SLOW else 1  # how much longer things may take under sanitizers


def pack(value):
    return msgpack.packb(value, use_bin_type=False)  # strings of 32 bytes and more are raw16


class Entry:
    """A query and the bytes of its whole stream."""

    def __init__(self, body, wanted):
        self.body, self.wanted = body, wanted


class Data:
    """A store made from the seed, so that its contents are known."""

    def __init__(self, folder, random, metrics=3, rows=8000):
        self.folder, self.random = folder, random
        files = [self._write(folder / f"metric_{number}.csv", rows) for number in range(metrics)]
        arguments = [argument for file in files for argument in ("--import", file)]
        with harness.up(folder / "data", *arguments, timeout=120) as program:
            with bus.Bus(program.ready["clients"]) as client:
                records = bus.unpack_all(client.stream({"op": "models"}))
        self.metrics = {record["uid"]: reference.read_csv(folder / f"{record['name']}.csv") for record in records}
        self.url = f"sqlite:{folder}/data/metricmq.db"

    def _write(self, path, rows):
        lines, now = ["timestamp,value,anomaly_score,raw_score"], BASE
        for _ in range(rows):
            now += self.random.choice([60, 60, 60, 0, -120])
            score = f"{self.random.random()!r}" if self.random.random() < 0.9 else ""
            lines.append(f"{reference.time_text(now)},{self.random.gauss(50, 9)!r},{score},{score}")
        path.write_text("\n".join(lines) + "\n")
        return path

    def entry(self, max_bytes=None, **query):
        body = {"op": "data", **{{"begin": "from", "end": "to"}.get(key, key): value for key, value in query.items()}}
        if max_bytes:
            body["max_bytes"] = max_bytes
        rows = reference.select(self.metrics, **query)
        return Entry(body, pack(NAMES) + b"".join(pack(list(row)) for row in rows))

    def long_plan(self):
        """Streams of many PARTIALs and pages."""
        uids = sorted(self.metrics)
        return [self.entry(anomaly=-1), self.entry(begin=0, anomaly=-1, order="metric"),
                *(self.entry(uid=uid, anomaly=-1, max_bytes=100_000) for uid in uids)]

    def short_plan(self):
        """Answers of one FINAL."""
        return [self.entry(uid=uid, anomaly=-1, limit=limit) for uid in self.metrics for limit in (1, 7, 40)]

    def write_plan(self, plan):
        """The file that bus_readers takes."""
        lines = []
        for number, entry in enumerate(plan):
            wanted = self.folder / f"wanted-{id(plan)}-{number}"
            wanted.write_bytes(entry.wanted)
            pairs = {key: value for key, value in entry.body.items() if key != "max_bytes"}
            packed = b"".join(msgpack.packb(key) + msgpack.packb(value) for key, value in pairs.items())
            lines.append(f"{len(pairs)} {packed.hex()} {entry.body.get('max_bytes', 0)} {wanted}")
        path = self.folder / f"plan-{id(plan)}"
        path.write_text("\n".join(lines) + "\n")
        return path


class Supervised:
    """A role that is started again, with the same arguments, as soon as it has ended."""

    def __init__(self, *args, keep=(), **options):
        self.options = options
        self.program = harness.Program(*args, **options)
        self.args = list(args)
        for flag, name in keep:  # from now on at the addresses that it was given
            self.args[self.args.index(flag) + 1] = self.program.ready[name]
        self.ready = self.program.ready
        self.starts = [time.monotonic()]  # when it was ready
        self.past_log = ""
        self.stopping = False
        self.error = None
        self.watcher = threading.Thread(target=self._watch, daemon=True)
        self.watcher.start()

    def _watch(self):
        try:
            while True:
                self.program.process.wait()
                if self.stopping:
                    return
                self.past_log += self._checked_log()
                self.program.close()
                self.program = harness.Program(*self.args, **self.options)
                self.starts.append(time.monotonic())
        except BaseException as error:  # it must not vanish with the thread
            self.error = error

    def _checked_log(self):
        log = self.program.errors()
        if harness.REPORT.search(log):
            raise Broken("report on stderr:\n" + log)
        return log

    def log(self):
        return self.past_log + self.program.errors()

    def signal(self, number):
        self.program.signal(number)

    def kill(self):
        """kill -9; the supervisor does the rest."""
        if self.error:
            raise self.error
        self.signal(signal.SIGKILL)

    def wait_start(self, count, timeout=30):
        """Until it was started `count` times; when it was ready then."""
        harness.wait_until(lambda: self.error or len(self.starts) >= count, timeout, "the restart")
        if self.error:
            raise self.error
        return self.starts[count - 1]

    def stop(self, **options):
        self.stopping = True
        if self.error:
            raise self.error
        self.program.stop(**options)
        self.watcher.join()

    def abandon(self):
        self.stopping = True
        with contextlib.suppress(OSError):
            self.program.signal(signal.SIGCONT)
        self.program.kill()


class Readers:
    """Streams of the client library, `in_flight` at once over one client, until `finish`."""

    def __init__(self, endpoint, data, plan, in_flight, timeout_s=30, pause_ms=0, each=False, env=None):
        arguments = ["--each"] * each + [endpoint, in_flight, timeout_s * 1000, pause_ms, data.write_plan(plan)]
        self.process = subprocess.Popen([READERS, *map(str, arguments)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT, text=True, env={**os.environ, **(env or {})})
        self.lines = []
        self.in_flight = in_flight
        self.ends = []  # (begin, end) in seconds, with each
        self.begun = {}  # with each: when the last stream that ended began, by reader
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self):
        for line in self.process.stdout:
            if line.startswith("end "):
                _, reader, begin, end = line.split()
                self.ends.append((int(begin) / 1e9, int(end) / 1e9))
                self.begun[reader] = int(begin) / 1e9
            else:
                self.lines.append(line)

    def renewed(self, since):
        """With each: True once no stream that began before is left."""
        return len(self.begun) == self.in_flight and min(self.begun.values()) > since

    def finish(self, timeout=120):
        """(streams, longest in seconds): all that were begun ended whole."""
        self.process.stdin.close()
        try:
            self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise Broken("streams of the library hang")
        self.thread.join()
        summary = re.search(r"^streams (\d+) bytes \d+ longest_ms (\d+)$", "".join(self.lines), re.M)
        if self.process.returncode != 0 or not summary:
            raise Broken("the library: " + "".join(self.lines[-40:]))
        return int(summary.group(1)), int(summary.group(2)) / 1000

    def abandon(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


class StockReader(threading.Thread):
    """A client that knows the protocol alone: one request at a time; it goes on from the last cursor
    that it saw, after a 503 or when nothing came for `patience` seconds."""

    def __init__(self, endpoint, plan, random, patience=1.5, name="stock client"):
        super().__init__(daemon=True, name=name)
        self.client = bus.Bus(endpoint)
        self.plan, self.random, self.patience = plan, random, patience
        self.history = History(name)
        self.streams = self.tries = 0
        self.longest = self.last_begun = 0.0
        self.stopping = threading.Event()
        self.error = None
        self.start()

    def run(self):
        try:
            while not self.stopping.is_set():
                self._read(self.random.choice(self.plan))
        except BaseException as error:
            self.error = error
        finally:
            self.client.socket.close()

    def renewed(self, since):
        """True once a whole stream was read that began later."""
        return self.error is not None or self.last_begun > since

    def _read(self, entry):
        begun = time.monotonic()
        stream, cursor, whole = Stream(self.name, entry.wanted), None, False
        while not whole:
            cursor, whole = self._page({**entry.body, "cursor": cursor}, cursor, stream)
            self.longest = max(self.longest, time.monotonic() - begun)
            if self.longest > 60 * SLOWER:
                raise Broken(f"{self.name}: a stream hangs")
        stream.end()
        self.streams += 1
        self.last_begun = begun

    def _page(self, body, cursor, stream):
        """(cursor to go on from, True if the stream is whole)."""
        id = next(self.client.ids)
        self.history.asked(id)
        self.client.send("metric.query", body, id)
        self.client.timeout = self.patience
        while True:
            try:
                final, header, payload = self.client.receive()
            except TimeoutError:
                self.history.given_up(id)
                self.tries += 1
                return cursor, False
            if not self.history.answered(header["id"], final, header):
                continue
            if header["id"] != id:
                raise Broken(f"{self.name}: {header['id']} was answered while {id} was asked")
            if final and header["status"] >= 400:
                if header["status"] not in (503, 504):
                    raise Broken(f"{self.name}: {header}")
                self.tries += 1
                self.stopping.wait(0.05)  # as a client would that is told to come back
                return cursor, False
            stream.add(payload)
            cursor = header["next"] if final else header["cursor"]
            if final:
                return cursor, cursor is None

    def finish(self, timeout=120):
        self.stopping.set()
        self.join(timeout)
        if self.error:
            raise self.error
        if self.is_alive():
            raise Broken(f"{self.name} hangs")
        self.history.check()
        return self.streams

    def abandon(self):
        self.stopping.set()


class Stand:
    """A broker and query workers on one store. Leaves nothing behind."""

    def __init__(self, data=None, workers=0, broker=(), prefix=(), env=None):
        self.data = data
        self.holder = []
        self.broker = self.add(Supervised("broker", "--bind", harness.LOCAL, "--bind-workers", harness.LOCAL, *broker,
                                          keep=(("--bind", "clients"), ("--bind-workers", "workers")),
                                          prefix=prefix, env=env))
        self.clients, self.worker_endpoint = self.broker.ready["clients"], self.broker.ready["workers"]
        self.workers = [self.add_worker() for _ in range(workers)]
        if workers:
            self.wait_workers(workers)

    def add(self, thing):
        """Takes care of its end: abandon() if the case failed, stop() or finish() was called else."""
        self.holder.append(thing)
        return thing

    def add_worker(self, endpoint=None, kind="query", args=(), **options):
        store = ["--store", self.data.url, "--data", self.data.folder / "data"] if self.data else []
        return self.add(Supervised("worker", kind, "--connect", endpoint or self.worker_endpoint, *store, *args,
                                   **options))

    def readers(self, plan, in_flight, **options):
        return self.add(Readers(self.clients, self.data, plan, in_flight, **options))

    def stock_reader(self, plan, random, **options):
        return self.add(StockReader(self.clients, plan, random, **options))

    def stats(self, timeout=20.0):
        """mmi.stats, by a client of its own; waits for a broker that is away."""
        end = time.monotonic() + timeout * SLOWER
        while True:
            with bus.Bus(self.clients, timeout=0.5 * SLOWER) as client:
                with contextlib.suppress(TimeoutError):
                    return msgpack.unpackb(client.mmi("mmi.stats")[1], strict_map_key=False)
            if time.monotonic() > end:
                raise Broken("the broker does not answer mmi.stats")

    def service(self, name="metric.query"):
        return self.stats()["services"].get(name, {"workers": 0, "busy": 0, "queued": 0})

    def wait_workers(self, count, name="metric.query", timeout=20.0):
        harness.wait_until(lambda: self.service(name)["workers"] == count, timeout * SLOWER, f"{count} workers")

    def dropped(self):
        return self.stats()["dropped"]

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        things, self.holder = self.holder[::-1], []
        if kind:
            for thing in things:
                if isinstance(thing, Supervised):
                    print(f"---- log of {thing.args[:2]}\n{thing.log()[-3000:]}")
                thing.abandon()
            return
        for thing in things:
            if isinstance(thing, Supervised) and not thing.stopping:
                thing.stop()


@contextlib.contextmanager
def stock_dealer(endpoint, identity=None, **options):
    """A bare DEALER."""
    dealer = zmq.Context.instance().socket(zmq.DEALER)
    dealer.linger = 0
    if identity:
        dealer.identity = identity
    for name, value in options.items():
        setattr(dealer, name, value)
    dealer.connect(endpoint)
    try:
        yield dealer
    finally:
        dealer.close()
