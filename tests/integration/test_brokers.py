"""Two brokers, and workers and clients that know both: one of them dies, stands still, stops, returns (F3, F9, F28)."""
import re
import select
import signal
import subprocess
import threading
import time

import bus
import harness

ROWS = 60000 if harness.SLOW else 300000
RETURN_S = 2.0  # READY within that time of a broker's return
SLACK = 4.0 if harness.SLOW else 1.0
CHUNK = 64 * 1024


class Steady(threading.Thread):
    """Asks a broker without a pause: collects what failed and the longest time of an answer."""

    def __init__(self, endpoint):
        super().__init__()
        self.endpoint, self.stopped = endpoint, threading.Event()
        self.answers, self.longest, self.failures = 0, 0.0, []

    def run(self):
        with bus.Bus(self.endpoint) as client:
            while not self.stopped.is_set():
                start = time.monotonic()
                try:
                    client.call("metric.query", {"op": "models", "timeout": 20000})
                except (bus.Refused, TimeoutError) as error:
                    self.failures.append(repr(error))
                self.longest = max(self.longest, time.monotonic() - start)
                self.answers += 1

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stopped.set()
        self.join()


class Brokers(harness.Case):
    def setUp(self):
        super().setUp()
        self.random = harness.seed()
        self.brokers = [self.start_broker(harness.LOCAL, harness.LOCAL) for _ in range(2)]
        self.clients = [broker.ready["clients"] for broker in self.brokers]
        self.entries = [broker.ready["workers"] for broker in self.brokers]
        both = ["--connect", ",".join(self.entries), "--store", f"sqlite:{self.folder}/m.db", "--data", self.folder]
        self.workers = {}
        for kind in ("write", "query"):
            self.workers[kind] = worker = harness.Program("worker", kind, *both)
            self.addCleanup(worker.stop)
        self.connect = ["--connect", ",".join(self.clients)]

    def start_broker(self, clients, workers):
        broker = harness.Program("broker", "--bind", clients, "--bind-workers", workers)
        self.addCleanup(broker.kill)
        return broker

    def restart(self, number):
        """The broker returns; seconds from when it listens until the query worker serves it."""
        broker = self.start_broker(self.clients[number], self.entries[number])
        start = time.monotonic()
        self.brokers[number] = broker
        with bus.Bus(self.clients[number]) as client:
            harness.wait_until(lambda: client.mmi("mmi.service", b"metric.query") == [b"200"], what="the worker")
        return time.monotonic() - start

    def fill(self, metrics, rows):
        harness.run("demo", *self.connect, "--metrics", metrics, "--rows", rows)

    def query(self, *args, connect=None):
        return harness.run("query", *(connect or self.connect), "--anomaly", "-1", "--format", "msgpack",
                           *args).stdout

    def begin_query(self):
        """A query that has printed its first bytes; what it printed."""
        query = subprocess.Popen([harness.PROGRAM, "query", *self.connect, "--anomaly", "-1", "--format", "msgpack"],
                                 stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0)
        self.addCleanup(query.stderr.close)
        self.addCleanup(query.stdout.close)
        return query, query.stdout.read(1)

    def read_rest(self, query):
        """Reads to the end and checks the exit status."""
        rest = b"".join(iter(lambda: query.stdout.read(1 << 20), b""))
        errors = query.stderr.read().decode()
        self.assertEqual(query.wait(60), 0, errors)
        self.assertIsNone(harness.REPORT.search(errors), errors)
        return rest

    def read_some(self, query, size):
        """Reads about so many bytes at a slow reader's pace."""
        parts, left = [], size
        while left > 0:
            part = query.stdout.read(min(left, CHUNK))
            self.assertNotEqual(part, b"", "it ended early")
            parts.append(part)
            left -= len(part)
            select.select([], [], [], 0.001)
        return b"".join(parts)

    def test_both_are_served(self):
        self.fill(3, 500)
        one, other = (self.query(connect=["--connect", endpoint]) for endpoint in self.clients)
        self.assertEqual(one, other)
        self.assertEqual(len(bus.rows_of(one)), 1500)

    def test_kill_in_the_middle_of_a_stream(self):
        """The stream goes on at the next broker, byte for byte; that one is served all the time."""
        self.fill(1, ROWS)
        whole = self.query()
        self.assertEqual(len(bus.rows_of(whole)), ROWS)
        for _ in range(3):
            query, head = self.begin_query()
            with Steady(self.clients[1]) as steady:
                head += self.read_some(query, self.random.randrange(len(whole) // 2))
                self.brokers[0].kill()
                head += self.read_rest(query)
                back = self.restart(0)
            self.assertTrue(head == whole, "the stream is another")
            self.assertEqual(steady.failures, [])
            print(f"READY {back:.3f} s after the broker's return; {steady.answers} answers of the other, "
                  f"the longest took {steady.longest:.3f} s", flush=True)
            self.assertLess(back, RETURN_S + SLACK)

    def test_brokers_die_in_turn(self):
        """A stream that outlives both brokers, each of which returns."""
        self.fill(1, ROWS)
        whole = self.query()
        query, head = self.begin_query()
        for number in (0, 1, 0):
            head += self.read_some(query, len(whole) // 8)
            self.brokers[number].kill()
            print(f"READY {self.restart(number):.3f} s after the broker's return", flush=True)
        head += self.read_rest(query)
        self.assertTrue(head == whole, "the stream is another")

    def test_stop_in_the_middle_of_a_stream(self):
        """SIGTERM: it refuses what is new, finishes what it has, and goes."""
        self.fill(1, ROWS)
        whole = self.query()
        query, head = self.begin_query()
        head += self.read_some(query, self.random.randrange(len(whole) // 2))
        self.brokers[0].signal(signal.SIGTERM)
        head += self.read_rest(query)
        self.assertTrue(head == whole, "the stream is another")
        self.brokers[0].stop()

    def ready_lines(self, number):
        pattern = rf"msg=ready .*broker={re.escape(self.entries[number])} "
        return len(re.findall(pattern, self.workers["query"].errors()))

    def test_broker_stands_still(self):
        """SIGSTOP: found by silence; a new client passes it over; served again within 2 s of SIGCONT."""
        self.fill(1, ROWS)
        whole = self.query()
        query, head = self.begin_query()
        head += self.read_some(query, len(whole) // 4)
        before = self.ready_lines(0)
        with Steady(self.clients[1]) as steady:
            self.brokers[0].signal(signal.SIGSTOP)
            start = time.monotonic()
            head += self.read_rest(query)
            print(f"the stream ended {time.monotonic() - start:.3f} s after SIGSTOP", flush=True)
            start = time.monotonic()
            self.assertTrue(self.query() == whole)
            print(f"a new client's whole stream took {time.monotonic() - start:.3f} s", flush=True)
            harness.wait_until(lambda: "broker is silent" in self.workers["query"].errors(), what="the worker's word")
            self.brokers[0].signal(signal.SIGCONT)
            start = time.monotonic()
            harness.wait_until(lambda: self.ready_lines(0) > before, what="READY after SIGCONT")
            back = time.monotonic() - start
        self.assertTrue(head == whole, "the stream is another")
        self.assertEqual(steady.failures, [])
        print(f"READY {back:.3f} s after SIGCONT; the other's longest answer took {steady.longest:.3f} s", flush=True)
        self.assertLess(back, RETURN_S + SLACK)
        self.assertEqual(self.query(connect=["--connect", self.clients[0]]), whole)

    def test_first_endpoint_is_dead(self):
        self.fill(2, 50)
        expected = harness.run("models", *self.connect, "--format", "csv").out
        self.brokers[0].kill()
        start = time.monotonic()
        self.assertEqual(harness.run("models", *self.connect, "--format", "csv").out, expected)
        took = time.monotonic() - start
        print(f"`models` past a dead endpoint: {took:.3f} s", flush=True)
        self.assertLess(took, 0.4 + SLACK)
        self.brokers[1].kill()
        line = harness.run("models", *self.connect, check=False)
        self.assertEqual((line.returncode, line.out), (1, ""))
        self.assertIn(",".join(self.clients), line.err)

    def test_adapter_fails_over(self):
        self.fill(2, 50)
        with harness.Program("http", "--http", "127.0.0.1:0", *self.connect) as http:
            expected = harness.http_get(http, "/_models/data?anomaly=-1")
            self.assertEqual(expected[0], 200)
            for number in (0, 1, 0):
                self.brokers[number].kill()
                status, _, body = harness.http_get(http, "/_models/data?anomaly=-1")
                self.assertEqual((status, body), (200, expected[2]))
                self.restart(number)

    def test_writes_while_brokers_die(self):
        """An import takes its files over either broker, each row once."""
        files = []
        for number in range(6):
            files.append(self.folder / f"f{number}.csv")
            files[-1].write_text("timestamp,value\n" + "".join(f"{1400000000 + i},{i}\n" for i in range(20000)))
        importer = harness.Program("import", *self.connect, *files, wait=False)
        self.addCleanup(importer.close)
        for number in (0, 1, 0):
            line = importer.process.stdout.readline()
            if not line:
                break
            self.brokers[number].kill()
            self.restart(number)
        importer.process.stdout.read()
        self.assertEqual(importer.process.wait(120), 0, importer.errors())
        rows = bus.rows_of(self.query("--order", "metric"))
        self.assertEqual(len(rows), 6 * 20000)
        self.assertEqual(len({(row[0], row[4]) for row in rows}), len(rows))

    def test_worker_that_cannot_send_waits(self):
        """F9: a broker that stands still takes no answers; the worker does not ask again and again whether it does."""
        self.fill(1, 300000)
        worker = self.workers["query"].process.pid

        def rests():
            before = time.clock_gettime((~worker << 3) | 2)  # the process's CPU clock
            time.sleep(0.2)  # what is measured, not a wait
            return time.clock_gettime((~worker << 3) | 2) - before < 0.05
        clients = [bus.Bus(self.clients[0]) for _ in range(6)]
        try:
            for number, client in enumerate(clients):
                client.send("metric.query", {"op": "data", "id": number, "anomaly": -1, "max_bytes": 16 << 20})
            clients[0].socket.poll(10000)  # pages are under way
            self.brokers[0].process.send_signal(signal.SIGSTOP)
            harness.wait_until(rests, 2.4, "rest")  # 3 s later it leaves the broker, and rests anyway
        finally:
            self.brokers[0].process.send_signal(signal.SIGCONT)
            for client in clients:
                client.socket.close(0)


if __name__ == "__main__":
    harness.main()
