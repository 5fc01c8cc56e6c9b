"""PostgreSQL and write workers die by kill -9 under load: nothing acknowledged is lost or doubled, streams are never wrong,
and all goes on by itself. F53 with the store beyond our process."""
import contextlib
import json
import random
import statistics
import threading
import time

import msgpack

import bus
import harness
import postgres

BASE = 1600000000
KILLS = 4 if harness.SLOW else 10
RECOVERY_S = 30 if harness.SLOW else 10
THREADS = 8  # of query workers, at most
LATER = (503, 504)  # what may be answered while something is away


class Peer(threading.Thread):
    """Works until `stop` is set; what goes wrong is told by end()."""

    def __init__(self, endpoint, stop):
        super().__init__(daemon=True)
        self.endpoint, self.stop, self.error = endpoint, stop, None
        self.refused = 0
        self.last_s = 0.0  # when it was answered last
        self.start()

    def run(self):
        try:
            with bus.Bus(self.endpoint, timeout=5) as self.client:
                while not self.stop.is_set():
                    self.work()
        except BaseException as error:  # it must not vanish with the thread
            self.error = error

    def ask(self, service, body):
        """Asks until it is answered; None: it is time to stop."""
        while not self.stop.is_set():
            try:
                answer = self.client.call(service, {**body, "timeout": 4000})
                self.last_s = time.monotonic()
                return answer
            except TimeoutError:
                self.refused += 1
            except bus.Refused as refused:
                if refused.status not in LATER:
                    raise
                self.refused += 1
                self.stop.wait(0.02)  # as a client does that is told to come back
        return None

    def end(self):
        self.join(30)
        if self.error:
            raise self.error


class Appender(Peer):
    """Appends numbered rows in batches of its own sizes; one that was not acknowledged is sent again. Several may append to
    one metric, all of them the same rows."""

    def __init__(self, endpoint, stop, uid, number):
        self.uid, self.random = uid, random.Random(number)
        self.sent = self.acknowledged = 0
        super().__init__(endpoint, stop)

    def work(self):
        first, count = self.acknowledged + 1, self.random.choice([1, 1, 3, 50])
        rows = [(BASE + n, float(n), None, None) for n in range(first, first + count)]
        self.sent = first + count - 1
        if self.ask("metric.write", {"op": "append", "uid": self.uid, "first_rowid": first, "rows": bus.pack_rows(rows)}):
            self.acknowledged = self.sent


def expect_rows(rows, uid, least, most):
    """Rows 1 to n as they were sent, least <= n <= most."""
    assert least <= len(rows) <= most, (uid, least, len(rows), most)
    wanted = [(uid, BASE + n, float(n), None, n) for n in range(1, len(rows) + 1)]
    assert rows == wanted, (uid, [pair for pair in zip(rows, wanted) if pair[0] != pair[1]][:3])


class Reader(Peer):
    """Reads one stream after the other in small pages, each page until it comes."""

    def __init__(self, endpoint, stop, appenders, number):
        self.appenders, self.random, self.streams = appenders, random.Random(number), 0
        super().__init__(endpoint, stop)

    def of(self, uid, key):
        return max(getattr(appender, key) for appender in self.appenders if appender.uid == uid)

    def work(self):
        uid = self.random.choice(sorted({appender.uid for appender in self.appenders}))
        body = {"op": "data", "uid": uid, "from": 0, "anomaly": -1, "max_bytes": self.random.choice([1024, 5000, 100000])}
        least, data = self.of(uid, "acknowledged"), b""
        answer = self.ask("metric.query", body)
        most = self.of(uid, "sent")
        while answer:
            data += answer[1]
            if answer[0]["next"] is None:
                expect_rows(bus.rows_of(data), uid, least, most)
                self.streams += 1
                return
            answer = self.ask("metric.query", {**body, "cursor": answer[0]["next"]})


class Maker(Peer):
    """Makes and deletes metrics that others make and delete too."""

    def __init__(self, endpoint, stop, uids, number):
        self.uids, self.random, self.done = uids, random.Random(number), 0
        super().__init__(endpoint, stop)

    def work(self):
        uid = self.random.choice(self.uids)
        body = self.random.choice([
            {"op": "create", "metric": {"datasource": "custom", "name": uid, "uid": uid}},
            {"op": "append", "uid": uid, "rows": bus.pack_rows([(BASE, 1.0, 0.5, None)] * self.random.choice([1, 2000]))},
            {"op": "score", "uid": uid, "rows": bus.pack_rows([(1, 0.25, 0.25)])},
            {"op": "prune", "uid": uid, "before": BASE + 1},
            {"op": "delete", "uid": uid}])
        try:
            self.done += self.ask("metric.write", body) is not None
        except bus.Refused as refused:
            assert refused.status == 404, (body["op"], refused)


class Losses(harness.Case):
    def setUp(self):
        super().setUp()
        self.random = harness.seed()
        self.stack = contextlib.ExitStack()
        self.addCleanup(self.stack.close)
        self.server = self.stack.enter_context(postgres.Server({"fsync": "off"}))  # the machine's power stays
        self.url = self.server.url("metricmq")
        self.stop = threading.Event()
        self.peers = []
        self.addCleanup(self.stop.set)

    def begin(self, endpoint, metrics, twins, readers=2, makers=0):
        """Load on it: `twins` appenders for each of so many metrics."""
        with bus.Bus(endpoint) as client:
            for number in range(metrics):
                uid = f"m{number}"
                record = {"datasource": "custom", "name": uid, "uid": uid}
                self.assertEqual(msgpack.unpackb(client.call("metric.write", {"op": "create", "metric": record})[1])["uid"], uid)
        self.appenders = [Appender(endpoint, self.stop, f"m{number % metrics}", self.random.random())
                          for number in range(metrics * twins)]
        self.readers = [Reader(endpoint, self.stop, self.appenders, self.random.random()) for _ in range(readers)]
        self.makers = [Maker(endpoint, self.stop, ["x", "y", "z"], self.random.random()) for _ in range(makers)]
        self.peers = self.appenders + self.readers + self.makers

    def look(self):
        for peer in self.peers:
            if peer.error:
                raise peer.error

    def wait_answers(self, since_s):
        """Until everybody has got an answer since then; seconds from then on."""
        harness.wait_until(lambda: self.look() or all(peer.last_s > since_s for peer in self.peers), RECOVERY_S,
                           "answers after a kill")
        return time.monotonic() - since_s

    def end(self, endpoint, took):
        """The load ends; all of it must be there."""
        harness.wait_until(lambda: self.look() or all(reader.streams for reader in self.readers), 30, "a whole stream")
        self.stop.set()
        for peer in self.peers:
            peer.end()
        with bus.Bus(endpoint) as client:
            for uid in {appender.uid for appender in self.appenders}:
                rows = harness.wait_until(lambda: self.read(client, uid), RECOVERY_S, "all rows")
                of = [appender for appender in self.appenders if appender.uid == uid]
                expect_rows(rows, uid, max(peer.acknowledged for peer in of), max(peer.sent for peer in of))
        print(f"{len(took)} kills, {sum(peer.acknowledged for peer in self.appenders)} rows acknowledged, none lost or doubled;"
              f" {sum(reader.streams for reader in self.readers)} streams; {sum(peer.refused for peer in self.peers)} tries;"
              f" answers again after {statistics.median(took):.2f} s, at most {max(took):.2f} s", flush=True)

    @staticmethod
    def read(client, uid):
        """All rows, or None: there is a thread that has not found the server yet."""
        try:
            return bus.rows_of(client.stream({"op": "data", "uid": uid, "from": 0, "anomaly": -1}))
        except bus.Refused as refused:
            if refused.status not in LATER:
                raise
            return None

    def check(self):
        self.assertRegex(harness.run("check", "--store", self.url).out, "^whole: ")
        deadlocks = self.server.sql("SELECT sum(deadlocks) FROM pg_stat_database")
        self.assertEqual((deadlocks, "deadlock detected" in self.server.log()), ("0", False))

    def pause(self, most_s):
        self.stop.wait(self.random.uniform(0, most_s))  # the random point, not a wait for anything

    def test_the_server_is_killed(self):
        """kill -9 of PostgreSQL and all of its processes; the roles stay, and find it again by themselves."""
        with harness.up(self.folder / "data", "--store", self.url) as program:
            endpoint, took = program.ready["clients"], []
            self.begin(endpoint, metrics=4, twins=1)
            self.wait_answers(0)
            for _ in range(KILLS):
                self.pause(0.3)
                self.server.kill()
                self.pause(0.3)
                self.server.start()
                took.append(self.wait_answers(time.monotonic()))
            self.assertIsNone(program.process.poll(), program.errors())
            self.end(endpoint, took)
        self.check()

    def test_the_server_is_away(self):
        """Every request is refused at once or within its time; of many the log has a line a second."""
        with harness.up(self.folder / "data", "--store", self.url, "--log-format", "json") as program:
            with bus.Bus(program.ready["clients"]) as client:
                client.call("metric.query", {"op": "stats"})
                self.server.kill()
                begun_s = time.monotonic()
                requests = [("metric.query", {"op": "stats"}), ("metric.write", {"op": "delete", "uid": "nobody"})]
                for service, body in requests * 150:
                    with self.assertRaises(bus.Refused) as refused:
                        client.call(service, body)
                    self.assertIn(refused.exception.status, LATER)
            took_s = time.monotonic() - begun_s
            told = [json.loads(line) for line in program.errors().splitlines() if line.startswith("{")]
            for message in ("query failed", "writing failed"):
                of = [line for line in told if line["msg"] == message]
                self.assertIn(len(of), range(1, THREADS * (int(took_s) + 2)), of[:5])

    def test_write_workers_are_killed(self):
        """kill -9 of write workers, two of which are at work at the same metrics at the same time."""
        with harness.Program("broker", "--bind", harness.LOCAL, "--bind-workers", harness.LOCAL) as broker:
            endpoint, took = broker.ready["clients"], []
            options = ("--connect", broker.ready["workers"], "--store", self.url, "--data", self.folder)
            # a small capacity, so that the broker gives each of them something to do
            start = lambda: harness.Program("worker", "write", *options, "--capacity", 3)
            writers = [start(), start()]
            with harness.Program("worker", "query", *options):
                self.begin(endpoint, metrics=3, twins=2, makers=3)
                self.wait_answers(0)
                for number in range(KILLS):
                    self.pause(0.2)
                    at = number % 2
                    writers[at].kill()
                    since_s = time.monotonic()
                    writers[at] = start()
                    took.append(self.wait_answers(since_s))
                self.assertGreater(min(maker.done for maker in self.makers), 0)
                self.end(endpoint, took)
            for writer in writers:
                writer.stop()
        self.check()


class Rights(harness.Case):
    """Users who may do what docs/postgres.md says that they must, and nothing more."""

    def setUp(self):
        super().setUp()
        self.server = postgres.Server({"fsync": "off"})
        self.server.__enter__()
        self.addCleanup(self.server.__exit__, None)
        self.server.url("metricmq")
        self.sql("CREATE ROLE writer LOGIN", "CREATE ROLE reader LOGIN")

    def sql(self, *statements):
        return self.server.sql(*statements, database="metricmq")

    def url(self, user):
        return self.server.url("metricmq").replace(f"//{postgres.USER}@", f"//{user}@")

    def test_a_schema_of_ones_own(self):
        """Its owner need not be allowed to make schemas; a reader wants USAGE and SELECT, and is told so."""
        self.sql("CREATE SCHEMA metricmq AUTHORIZATION writer")
        check = lambda: harness.run("check", "--store", self.url("reader"), check=False)
        with harness.Program("broker", "--bind", harness.LOCAL, "--bind-workers", harness.LOCAL) as broker:
            options = ("--connect", broker.ready["workers"], "--data", self.folder)
            with (harness.Program("worker", "write", *options, "--store", self.url("writer")),
                  bus.Bus(broker.ready["clients"]) as client):
                client.call("metric.write", {"op": "create", "metric": {"datasource": "custom", "name": "a", "uid": "a"}})
                rows = [(BASE + number, float(number), None, None) for number in range(2000)]
                client.call("metric.write", {"op": "append", "uid": "a", "rows": bus.pack_rows(rows)})
                self.assertRegex(check().err, "grant it USAGE")
                self.sql("GRANT USAGE ON SCHEMA metricmq TO reader")
                self.assertRegex(check().err, "not all rights")
                self.sql("GRANT SELECT ON ALL TABLES IN SCHEMA metricmq TO reader")
                with harness.Program("worker", "query", *options, "--store", self.url("reader")):
                    client.call("metric.write", {"op": "prune", "uid": "a", "before": BASE + 10})
                    read = bus.rows_of(client.stream({"op": "data", "uid": "a", "from": 0, "anomaly": -1, "max_bytes": 5000}))
                    self.assertEqual(len(read), 1990)
                    for body in ({"op": "data", "from": 0, "anomaly": -1}, {"op": "models"}, {"op": "model", "uid": "a"},
                                 {"op": "stats"}, {"op": "store"}, {"op": "summary", "uid": "a"}):
                        self.assertEqual(client.call("metric.query", body)[0]["status"], 200, body)
                self.assertRegex(check().out, "^whole: 1 metrics")
        self.assertRegex(harness.run("worker", "write", "--store", self.url("reader"), "--data", self.folder,
                                     check=False).err, "permission denied for table writer")


if __name__ == "__main__":
    harness.main()
