"""clients/python/metricmq.py against the real program and against a broker that a test scripts."""
import itertools
import os
import pathlib
import shutil
import struct
import sys
import threading
import time
import tracemalloc
import unittest

import bus_keys
import fake_bus
import harness

sys.path.insert(0, str(harness.SOURCE / "clients" / "python"))
import metricmq  # noqa: E402

ROWS = 30_000 if harness.SLOW else 90_000


def bits(number):
    return None if number is None else struct.pack(">d", number)


def exact(rows):
    """Rows with their floats as bytes: equal only if they are equal bit for bit."""
    return [(row[0], row[1], bits(row[2]), bits(row[3]), row[4]) for row in rows]


def connect(case, *args, **options):
    client = metricmq.Client(*args, **options)
    case.addCleanup(client.close)
    return client


class Serving(unittest.TestCase):
    """Every operation, once, against `up`."""

    @classmethod
    def setUpClass(cls):
        cls.program = harness.up(harness.temporary_folder(cls) / "data")
        cls.addClassCleanup(cls.program.stop)

    def setUp(self):
        self.client = connect(self, self.program.ready["clients"])

    def make(self, name, rows=()):
        uid = self.client.create({"datasource": "custom", "name": name}).uid
        self.addCleanup(self.client.delete, uid)
        if rows:
            self.client.append(uid, rows, first_rowid=1)
        return uid

    def test_floats_come_back_bit_for_bit(self):
        random = harness.seed()
        numbers = [0.0, -0.0, 5e-324, -5e-324, 1.7976931348623157e308, 0.1, 1 / 3, 2.0 ** 53 + 2, 222, -1]
        while len(numbers) < 2000:
            number = struct.unpack(">d", random.randbytes(8))[0]
            numbers += [number] if number - number == 0 else []  # finite
        rows = [(1_700_000_000 + n, number, (n % 100) / 100 if n % 3 else None) for n, number in enumerate(numbers)]
        uid = self.make("bits", rows)
        want = [(uid, row[0], float(row[1]), row[2], rowid) for rowid, row in enumerate(rows, 1)]
        self.assertEqual(exact(self.client.query(uid, from_=0, anomaly=-1)), exact(want))
        for max_bytes in (1024, 5000):  # many pages
            self.assertEqual(exact(self.client.query(uid, from_=0, anomaly=-1, max_bytes=max_bytes)), exact(want))
        self.assertEqual(exact(self.client.query(uid)), exact(row for row in reversed(want) if row[3] is not None))

    def test_arguments(self):
        uid = self.make("arguments", [(1_700_000_000 + n, n, n / 10) for n in range(10)])
        rowids = lambda **arguments: [row.rowid for row in self.client.query(uid, **arguments)]
        day = metricmq.utc(1_700_000_003)
        self.assertEqual(rowids(from_=day), [4, 5, 6, 7, 8, 9, 10])
        self.assertEqual(rowids(from_="2023-11-14 22:13:23", to=day), [4])
        self.assertEqual(rowids(to=1_700_000_001), [2, 1])
        self.assertEqual(rowids(anomaly=0.75, limit=1), [10])
        self.assertEqual(rowids(rowid=3), [3])
        self.assertEqual(list(self.client.query("nobody")), [])
        row = next(self.client.query(uid))
        self.assertEqual((row.time, row.uid, type(row)), (metricmq.utc(1_700_000_009), uid, metricmq.Row))
        with self.assertRaisesRegex(ValueError, "no time zone"):
            self.client.query(uid, to=day.replace(tzinfo=None))
        with self.assertRaises(ValueError):
            self.client.query(uid, timeout=0)

    def test_records(self):
        uid = self.make("records", [(1_700_000_000, 1)])
        other = self.make("records/2")
        models = {model.uid: model for model in self.client.models()}
        self.assertEqual(list(models), sorted(models))
        self.assertEqual(self.client.model(uid), models[uid])
        self.assertEqual((models[uid].last_rowid, models[uid].name), (1, "records"))
        self.assertEqual([model.uid for model in self.client.models([other, "nobody", uid])], [other, uid])
        self.assertEqual(self.client.create({"datasource": "custom", "name": "records"}), models[uid])
        self.assertIn("processing_time_remaining", self.client.stats())
        self.assertEqual(self.client.status()["services"]["metric.query"]["workers"], 1)
        self.assertTrue(self.client.serves("metric.query"))
        self.assertFalse(self.client.serves("metric.nothing"))

    def test_writes(self):
        uid = self.make("writes")
        day = metricmq.utc(1_700_000_000)
        self.assertEqual(self.client.append(uid, [(day, 1), (1_700_000_001, 2.5, 0.5, 0.25)]), (1, 2, 2))
        self.assertEqual(self.client.append(uid, [(1_700_000_001, 2.5), (1_700_000_002, 3)], first_rowid=2), (2, 3, 1))
        with self.assertRaises(metricmq.Conflict) as caught:
            self.client.append(uid, [(1_700_000_001, 7)], first_rowid=2)
        self.assertEqual((caught.exception.status, caught.exception.trace), (409, self.client.trace))
        self.client.score(uid, [(1, 0.75, 0.5)])
        with self.assertRaises(metricmq.NotFound):
            self.client.score(uid, [(9, 0.75, 0.5)])
        metrics = self.client.export(uid)
        model, rows = next(metrics)
        self.assertEqual((model.uid, list(rows)), (uid, [
            (1_700_000_000, 1, 0.75, 0.5), (1_700_000_001, 2.5, 0.5, 0.25), (1_700_000_002, 3, None, None)]))
        for bad, fault in (([(1, float("nan"))], ValueError), ([("then", 1)], TypeError), ([(1, 2, 3, 4, 5)], ValueError),
                           ([(1, 2, float("inf"))], ValueError)):
            with self.assertRaises(fault):
                self.client.append(uid, bad)
        with self.assertRaises(metricmq.TooBig):
            self.client.append(uid, [(1, 2, 0.5, 0.25)] * 150_000)
        with self.assertRaises(metricmq.Conflict):
            self.client.create({"datasource": "custom", "name": "writes", "uid": "another"})

    def test_export_of_all(self):
        uids = sorted(self.make(f"export {n}", [(1_700_000_000 + n, n)] * n) for n in range(1, 4))
        whole = {model.uid: list(rows) for model, rows in self.client.export()}
        self.assertEqual(list(whole), uids)
        self.assertEqual(sorted(map(len, whole.values())), [1, 2, 3])
        self.assertEqual([model.uid for model, _ in self.client.export()], uids)  # rows that nobody takes
        self.assertEqual([next(rows) for _, rows in self.client.export()], [rows[0] for rows in whole.values()])
        with self.assertRaises(metricmq.NotFound):
            list(self.client.export("nobody"))

    def test_feedback(self):
        uid, news = self.make("feedback", [(1_700_000_000, 1)]), []
        dump = self.client.feedback(uid, {"why": "a test"}, created=1_700_000_000, wait=20,
                                    progress=lambda *stage: news.append(stage))
        self.assertRegex(dump.key, f"^metric_dumps/.*metric_dump_{uid}_20231114-221320-")
        self.assertIsNone(dump.state)
        self.assertIn("build", {stage for stage, _, _ in news})
        self.assertEqual(self.client.feedback(uid, {"why": "a test"}, created=1_700_000_000, wait=20), dump)
        self.assertEqual(self.client.spool()["jobs"], 0)
        with self.assertRaises(metricmq.NotFound):
            self.client.feedback("nobody")

    def test_statuses_are_kinds(self):
        for ask, kind in ((lambda: list(self.client.query("data")), metricmq.BadRequest),
                          (lambda: list(self.client.query(order="by chance")), metricmq.BadRequest),
                          (lambda: list(self.client.query(cursor="none of ours")), metricmq.BadRequest),
                          (lambda: self.client.model("nobody"), metricmq.NotFound)):
            with self.assertRaises(kind) as caught:
                ask()
            self.assertEqual(caught.exception.status, kind.status)
            self.assertTrue(caught.exception.error)
            self.assertEqual(caught.exception.trace, self.client.trace)

    def test_its_version_is_the_program_s(self):
        self.assertIn(metricmq.__version__, harness.run("--version").out)


class Streaming(unittest.TestCase):
    """Long streams, and several at once."""

    @classmethod
    def setUpClass(cls):
        cls.program = harness.up(harness.temporary_folder(cls) / "data")
        cls.addClassCleanup(cls.program.stop)
        harness.run("demo", "--connect", cls.program.ready["clients"], "--metrics", 2, "--rows", ROWS // 2)

    def test_generators_of_one_client_do_not_mix(self):
        client = connect(self, self.program.ready["clients"])
        uids = [model.uid for model in client.models()]
        alone = [list(client.query(uid, anomaly=-1)) for uid in uids]
        both = list(zip(*(client.query(uid, anomaly=-1, max_bytes=20_000) for uid in uids)))
        self.assertEqual([[rows[n] for rows in both] for n in range(2)], alone)

    def test_a_generator_that_is_left_asks_no_more(self):
        client = connect(self, self.program.ready["clients"])
        for _ in range(20):
            rows = client.query(anomaly=-1)
            next(rows)
            rows.close()
            self.assertEqual(client._bus.calls, {})
        self.assertTrue(client.serves("metric.query"))

    def test_a_stream_goes_on_where_another_stopped(self):
        client = connect(self, self.program.ready["clients"])
        whole = list(client.query(anomaly=-1))
        stream = metricmq._Stream(client._bus, {"op": "data", "anomaly": -1.0}, 30)
        self.addCleanup(stream.close)
        payload, cursor = stream.take()
        first = metricmq._decode_rows(payload, True)
        self.assertEqual(first + list(client.query(anomaly=-1, cursor=cursor)), whole)

    def test_memory_does_not_grow_with_the_stream(self):
        client = connect(self, self.program.ready["clients"])
        list(itertools.islice(client.query(anomaly=-1), 10))
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        count = sum(1 for _ in client.query(anomaly=-1, max_bytes=200_000))
        peak = tracemalloc.get_traced_memory()[1]
        print(f"{count} rows, {peak / 2**20:.1f} MiB at most")
        self.assertEqual(count, ROWS)
        self.assertLess(peak, 8 << 20)


class Losses(harness.Case):
    """Workers and brokers die in the middle of a query: the rows go on exactly where they were."""

    def setUp(self):
        super().setUp()
        self.brokers = [self.start("broker", "--bind", harness.LOCAL, "--bind-workers", harness.LOCAL) for _ in range(2)]
        self.entries = ",".join(broker.ready["workers"] for broker in self.brokers)
        self.doors = [broker.ready["clients"] for broker in self.brokers]
        for kind in ("write", "query"):
            setattr(self, kind, self.start_worker(kind))
        harness.run("demo", "--connect", self.doors[0], "--metrics", 3, "--rows", ROWS // 3)
        self.arguments = {"from_": 0, "anomaly": -1, "max_bytes": 30_000}
        with metricmq.Client(self.doors[0]) as client:
            self.whole = list(client.query(**self.arguments))

    def start(self, *args):
        program = harness.Program(*args)
        self.addCleanup(program.kill)
        return program

    def start_worker(self, kind):
        return self.start("worker", kind, "--connect", self.entries, "--data", self.folder)

    def test_workers_are_killed(self):
        random = harness.seed()
        places = sorted(random.sample(range(len(self.whole)), 3))
        with metricmq.Client(self.doors[0]) as client:
            rows = []
            for row in client.query(**self.arguments):
                rows.append(row)
                if places and len(rows) > places[0]:
                    places.pop(0)
                    self.query.kill()
                    self.query = self.start_worker("query")
            self.assertEqual(places, [])
            self.assertTrue(rows == self.whole, "rows were lost, doubled or mixed up")

    def test_the_broker_is_killed_and_the_next_goes_on(self):
        place = harness.seed().randrange(len(self.whole))
        with metricmq.Client(self.doors) as client:
            rows = []
            for row in client.query(**self.arguments):
                rows.append(row)
                if len(rows) == place + 1:
                    self.brokers[0].kill()
            self.assertTrue(rows == self.whole, "rows were lost, doubled or mixed up")
            self.assertEqual(client._bus.link.at, 1)
            uid = client.create({"datasource": "custom", "name": "after"}).uid  # and the rest of it, too
            self.assertEqual(client.append(uid, [(1, 2)], first_rowid=1), (1, 1, 1))

    def test_the_only_broker_returns(self):
        place = harness.seed().randrange(len(self.whole))
        with metricmq.Client(self.doors[1]) as client:
            rows = []
            for row in client.query(**self.arguments):
                rows.append(row)
                if len(rows) == place + 1:
                    broker = self.brokers[1]
                    broker.kill()
                    self.start("broker", "--bind", broker.ready["clients"], "--bind-workers", broker.ready["workers"])
            self.assertTrue(rows == self.whole, "rows were lost, doubled or mixed up")


class Scripted(unittest.TestCase):
    """Against a broker of the test's: what is sent again, what is asked for ahead, what ends."""

    def setUp(self):
        self.bus = fake_bus.FakeBus()
        self.addCleanup(self.bus.stop)
        self.client = connect(self, self.bus.endpoint, timeout=20)

    def answer(self, *answers):
        """The nth request is answered by the nth of them, the last one again and again."""
        waiting = list(answers)

        def give(bus, peer, service, request):
            next_ = waiting.pop(0) if len(waiting) > 1 else waiting[0]
            next_(bus, peer, service, request)
        self.bus.answer = give

    @staticmethod
    def final(**fields):
        return lambda bus, *envelope: bus.final(*envelope, **fields)

    def test_what_is_sent_again_after_a_503(self):
        record = {name: None for name in metricmq.Model._fields} | {"uid": "u"}
        appended = fake_bus.pack({"first_rowid": 1, "last_rowid": 1, "added": 1})
        for ask, payload in ((lambda: self.client.create({"name": "n"}), fake_bus.pack(record)),
                             (lambda: self.client.model("u"), fake_bus.pack(record)),
                             (lambda: self.client.append("u", [(1, 2)], first_rowid=1), appended),
                             (lambda: self.client.score("u", [(1, 0.5, 0.5)]), None),
                             (lambda: self.client.delete("u"), None),
                             (lambda: self.client.feedback("u", created=1), fake_bus.pack({"key": "k"}))):
            self.bus.seen.clear()
            self.answer(self.final(status=503, error="not now"), self.final(payload=payload))
            ask()
            first, second = (request for _, request in self.bus.seen)
            self.assertNotEqual(first.pop("id"), second.pop("id"))
            self.assertGreaterEqual(first.pop("timeout"), second.pop("timeout"))
            self.assertEqual(first, second)
        self.bus.seen.clear()
        self.answer(self.final(status=503, error="not now"), self.final(payload=appended))
        with self.assertRaisesRegex(metricmq.Unavailable, "not now"):
            self.client.append("u", [(1, 2)])
        self.assertEqual(len(self.bus.seen), 1)

    def test_what_is_sent_again_after_a_loss(self):
        appended = fake_bus.pack({"first_rowid": 1, "last_rowid": 1, "added": 1})
        for first_rowid in (1, None):
            lost, second = fake_bus.FakeBus(), fake_bus.FakeBus()
            self.addCleanup(second.stop)
            lost.answer = lambda bus, *_: bus.stopping.set()  # it hangs up on whoever asks
            second.answer = self.final(payload=appended)
            with metricmq.Client([lost.endpoint, second.endpoint], timeout=20) as client:
                if first_rowid:
                    self.assertEqual(client.append("u", [(1, 2)], first_rowid=1), (1, 1, 1))
                else:
                    with self.assertRaisesRegex(metricmq.Unavailable, "not known whether"):
                        client.append("u", [(1, 2)])
                self.assertEqual(len(second.seen), 1 if first_rowid else 0)
            lost.thread.join()

    def pages(self, bus, peer, service, request):
        """An endless stream, a page of one row each."""
        number = int(request.get("cursor") or 0)
        names = fake_bus.pack(fake_bus.NAMES) if number == 0 else b""
        bus.final(peer, service, request, payload=names + fake_bus.rows("u", number + 1, 1), next=str(number + 1))

    def test_a_slow_reader_holds_two_pages(self):
        self.bus.answer = self.pages
        rows = self.client.query()
        for taken in range(1, 6):
            self.assertEqual(next(rows).rowid, taken)
            for _ in range(5):
                self.step_once()
            self.assertLessEqual(len(self.bus.seen), taken + metricmq.PAGES_HELD_MAX)
        rows.close()

    def step_once(self):
        """Lets the client take what has come: a request of its own that is answered."""
        self.bus.mmi_status = b"200"
        self.client.serves("metric.query")

    def test_a_reader_that_was_away_for_longer_than_the_timeout(self):
        """Its page was answered too late meanwhile: that is no reason to end the stream."""
        def late(bus, peer, service, request):
            if request.get("cursor") == "1" and not self.refused:
                self.refused.append(request)
                bus.final(peer, service, request, status=504, error="late")
            else:
                self.pages(bus, peer, service, request)
        self.refused, self.bus.answer = [], late
        rows = self.client.query(timeout=0.2)
        self.assertEqual(next(rows).rowid, 1)
        harness.wait_until(lambda: self.refused)
        start = time.monotonic()
        harness.wait_until(lambda: time.monotonic() - start > 0.3)
        self.assertEqual([next(rows).rowid for _ in range(3)], [2, 3, 4])
        rows.close()

    def test_a_stream_without_an_end(self):
        def silent(bus, peer, service, request):
            if request.get("cursor") is None:
                self.pages(bus, peer, service, request)
        self.bus.answer = silent
        rows = self.client.query(timeout=0.2)
        self.assertEqual(next(rows).rowid, 1)
        with self.assertRaises(metricmq.Timeout) as caught:
            next(rows)
        self.assertEqual((caught.exception.cursor, caught.exception.status), ("1", 504))
        self.assertIsInstance(caught.exception, TimeoutError)

    def test_no_broker_and_no_answer(self):
        start = time.monotonic()
        with metricmq.Client("tcp://127.0.0.1:9", timeout=0.1) as client:
            with self.assertRaisesRegex(metricmq.Timeout, "could not be reached"):
                client.stats()
        with self.assertRaisesRegex(metricmq.Timeout, "no answer"):
            self.client.stats(timeout=0.1)
        self.assertLess(time.monotonic() - start, 10)

    def test_a_late_mmi_answer_is_not_taken_for_the_next(self):
        late = []
        self.bus.answer = lambda *envelope: late.append(envelope)
        with self.assertRaises(metricmq.Timeout):
            self.client.serves("a", timeout=0.1)

        def both(bus, peer, service, request):
            bus.mmi(peer, service, b"200")
            bus.mmi(peer, service, b"404")
        self.bus.answer = both
        self.assertFalse(self.client.serves("b"))

    def test_not_modified(self):
        self.answer(self.final(status=304))
        with self.assertRaises(metricmq.NotModified):
            list(self.client.query(unless="s"))

    def test_a_second_thread_is_told(self):
        asked = threading.Event()
        self.bus.answer = lambda *_: asked.set()
        faults = []

        def ask():
            try:
                self.client.stats(timeout=0.3)
            except Exception as fault:
                faults.append(fault)
        thread = threading.Thread(target=ask)
        thread.start()
        self.assertTrue(asked.wait(20))
        with self.assertRaisesRegex(RuntimeError, "another thread"):
            while True:
                self.client.stats(timeout=0.01)
        thread.join()
        self.assertIsInstance(faults[0], metricmq.Timeout)

    def test_closed(self):
        self.client.close()
        self.client.close()
        with self.assertRaisesRegex(ValueError, "closed"):
            self.client.stats()

    def test_endpoints(self):
        for bad in ("", "tcp://a:1,", "tcp://a:1,tcp://a:1", "tcp://a:65536", "tcp://a", "nothing", ["tcp://a:1"] * 9,
                    [f"tcp://a:{n}" for n in range(1, 10)], []):
            with self.assertRaises(ValueError, msg=bad):
                metricmq.Client(bad)


class Keys(harness.Case):
    def test_curve(self):
        keys = bus_keys.folder_of_keys(self.folder / "keys", [("reader", None)], [("query", "metric.query")])
        own, server = keys / "clients" / "reader.cert_secret", keys / "server.cert"
        with bus_keys.broker(keys) as broker:
            endpoint = broker.ready["clients"]
            curve = metricmq.Curve.load(own, server)
            self.assertNotIn(curve.secret_key, repr(curve))
            with metricmq.Client(endpoint, curve=curve) as client:
                self.assertFalse(client.serves("metric.query"))
                with self.assertRaises(metricmq.Denied):
                    client.delete("u")
            with metricmq.Client(endpoint, timeout=0.5) as client:
                with self.assertRaisesRegex(metricmq.Timeout, "CURVE"):
                    client.stats()
        open_ = self.folder / "open.cert_secret"
        shutil.copy(own, open_)
        os.chmod(open_, 0o644)
        for secret, public in ((open_, server), (server, server), (own, self.folder / "keys")):
            with self.assertRaises((ValueError, OSError)):
                metricmq.Curve.load(secret, public)
        mixed = self.folder / "mixed"
        text = pathlib.Path(own).read_text()
        mixed.write_text(text.replace(curve.public_key, curve.server_key))
        mixed.chmod(0o600)
        with self.assertRaisesRegex(ValueError, "pair"):
            metricmq.Curve.load(mixed, server)


if __name__ == "__main__":
    harness.main()
