"""What workers do when PostgreSQL's servers change places: a standby that is behind, one that is promoted, a primary that
takes no writes. The servers are on unix sockets of this machine; run.py has them on hosts of their own.
"""
import contextlib
import os
import select
import signal
import time
import unittest
import urllib.parse

import bus
import harness
import postgres

LONG = unittest.skipUnless(os.environ.get("METRICMQ_HOSTS"), "waits out bounds of seconds: a part of ops/hosts")
METRIC = {"op": "create", "metric": {"uid": "m", "datasource": "custom", "name": "m"}}
ALL = {"op": "data", "uid": "m", "anomaly": -1}


def both(one, other, database, attributes):
    """The URL of two servers."""
    host, port = (",".join(str(value) for value in pair) for pair in ((one.folder, other.folder), (one.port, other.port)))
    return (f"postgresql://{postgres.USER}@/{database}?host={urllib.parse.quote(host, safe=',')}&port={port}"
            f"&target_session_attrs={attributes}")


def rows(first, count):
    return [(1500000000 + 60 * n, float(n), 0.5, 0.5) for n in range(first, first + count)]


class Failover(harness.Case):
    """A primary, a standby, a broker."""

    def setUp(self):
        super().setUp()
        self.random = harness.seed()
        stack = contextlib.ExitStack()
        self.addCleanup(stack.close)
        self.primary = stack.enter_context(postgres.Server({"fsync": "off"}))
        self.primary.url("m")  # makes it
        self.standby = stack.enter_context(self.primary.standby({"hot_standby": "on"}))
        self.broker = stack.enter_context(harness.Program("broker", "--bind", harness.LOCAL, "--bind-workers", harness.LOCAL))
        self.stack = stack
        self.client = stack.enter_context(bus.Bus(self.broker.ready["clients"], timeout=20))

    def worker(self, kind, url, *args, **options):
        return harness.Program("worker", kind, "--connect", self.broker.ready["workers"], "--data", self.folder / kind,
                               "--store", url, *args, **options)

    def append(self, first, count, timeout_ms=10000):
        self.client.call("metric.write", {"op": "append", "uid": "m", "first_rowid": first, "timeout": timeout_ms,
                                          "rows": bus.pack_rows(rows(first, count))})

    def status(self, service, body):
        """(status, sentence) of one request."""
        try:
            return self.client.call(service, {"timeout": 5000, **body})[0]["status"], ""
        except bus.Refused as refused:
            return refused.status, refused.error

    def until_done(self, service, body, timeout=30):
        """Asks again, as a client does, while it is told to come back; all that it was told."""
        told = []

        def ask():
            told.append(self.status(service, body))
            return told[-1][0] not in (503, 504)

        harness.wait_until(ask, timeout, f"an answer to {body}")
        self.assertEqual(told[-1][0], 200, told)
        return told[:-1]

    def test_a_standby_that_is_behind_a_stream(self):
        """It cannot show what the stream has seen: 503, until it has caught up; never 410, never a hole."""
        with self.worker("write", self.primary.url("m")):
            self.client.call("metric.write", METRIC)
            self.append(1, 5000)
            self.standby.catch_up(self.primary)
            self.standby.pause()
            self.append(5001, 5000)
            with self.worker("query", self.primary.url("m")):
                whole = self.client.stream(ALL)
                header, first = self.client.call("metric.query", {**ALL, "max_bytes": 60000})
            with self.worker("query", self.standby.url("m")):
                rest = {**ALL, "cursor": header["next"]}
                status, sentence = self.status("metric.query", rest)
                self.assertEqual(status, 503, sentence)
                self.assertIn("is behind", sentence)
                self.assertEqual(self.status("metric.query", ALL), (200, ""), "what it has, it shows")
                self.standby.resume()
                self.until_done("metric.query", rest)
                self.assertEqual(first + self.client.stream(rest), whole)

    def test_a_cursor_that_no_server_has_seen(self):
        """A standby may show one commit before its primary does, which waits for it: 503. One that is further ahead is of a
        store that was since restored: 410."""
        with self.worker("write", self.primary.url("m")):
            self.client.call("metric.write", METRIC)
            self.append(1, 2000)
        with self.worker("query", self.primary.url("m")):
            header, _ = self.client.call("metric.query", {**ALL, "max_bytes": 20000})
            for behind, wanted in ((0, 200), (1, 503), (2, 410)):
                self.primary.sql(f"UPDATE metricmq.store SET commit_no = commit_no - {min(behind, 1)}", database="m")
                self.assertEqual(self.status("metric.query", {**ALL, "cursor": header["next"]})[0], wanted)

    def test_the_standby_is_promoted(self):
        """The primary is gone for good: writers and readers go on with the other server."""
        with contextlib.ExitStack() as workers:
            workers.enter_context(self.worker("write", both(self.primary, self.standby, "m", "read-write")))
            self.client.call("metric.write", METRIC)
            self.append(1, 100)
            self.standby.catch_up(self.primary)
            workers.enter_context(self.worker("query", both(self.primary, self.standby, "m", "prefer-standby")))
            self.primary.kill()
            self.assertEqual(self.status("metric.query", ALL), (200, ""), "readers have the standby")
            self.assertIn(self.status("metric.write", {"op": "append", "uid": "m", "first_rowid": 101,
                                                       "rows": bus.pack_rows(rows(101, 10))})[0], (503, 504))
            self.standby.promote()
            self.until_done("metric.write", {"op": "append", "uid": "m", "first_rowid": 101,
                                             "rows": bus.pack_rows(rows(101, 10))})
            self.assertEqual([row[4] for row in bus.rows_of(self.client.stream(ALL))], list(range(110, 0, -1)))

    def test_a_primary_that_takes_no_writes(self):
        """Set so by an operator, it is not the writers' any more, although their connections stand: they go on to the
        server that takes writes, or come back when it does again."""
        with self.worker("write", both(self.primary, self.standby, "m", "read-write")), \
                self.worker("query", self.primary.url("m")):
            self.client.call("metric.write", METRIC)
            self.append(1, 100)
            self.standby.catch_up(self.primary)
            self.primary.sql("ALTER SYSTEM SET default_transaction_read_only = on", "SELECT pg_reload_conf()")
            more = {"op": "append", "uid": "m", "first_rowid": 101, "rows": bus.pack_rows(rows(101, 10))}
            harness.wait_until(lambda: self.primary.sql("SHOW default_transaction_read_only") == "on")
            self.standby.promote()
            self.until_done("metric.write", more)
            self.assertEqual(self.standby.sql("SELECT last_rowid FROM metricmq.metric", database="m"), "110")

    @LONG
    def test_a_standby_that_stands_still(self):
        """Its machine takes packets and answers nothing. Readers do not wait for it as long as a statement may take: they
        go on to the other server while whoever asked still waits."""
        with self.worker("write", self.primary.url("m")):
            self.client.call("metric.write", METRIC)
            self.append(1, 100)
            self.standby.catch_up(self.primary)
            with self.worker("query", both(self.primary, self.standby, "m", "prefer-standby"), "--threads", "1"):
                self.assertEqual(self.status("metric.query", ALL), (200, ""))
                self.standby.freeze()
                self.addCleanup(self.standby.thaw)
                self.until_done("metric.query", {**ALL, "timeout": 25000}, 25)
                self.standby.thaw()

    @LONG
    def test_readers_return_to_a_standby(self):
        """Else the primary had all of them for ever, once the standby was away."""
        def readers(server):
            return int(server.sql("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'metricmq'"))

        with self.worker("write", self.primary.url("m")):
            self.client.call("metric.write", METRIC)
            self.append(1, 100)
            self.standby.catch_up(self.primary)
        with self.worker("query", both(self.primary, self.standby, "m", "prefer-standby"), "--threads", "1"):
            self.assertEqual((readers(self.primary), readers(self.standby)), (0, 1))
            self.standby.kill()
            self.until_done("metric.query", ALL)
            self.assertEqual(readers(self.primary), 1)
            self.standby.start()
            harness.wait_until(lambda: self.status("metric.query", ALL) == (200, "") and readers(self.standby) == 1, 60)
            harness.wait_until(lambda: readers(self.primary) == 0, 20)

    @LONG
    def test_a_writer_that_stands_still(self):
        """Its machine is frozen, or cut off, in the middle of a transaction, which has a metric's row locked: others can
        write to the metric again after seconds."""
        with self.worker("write", self.primary.url("m")) as frozen:
            self.client.call("metric.write", METRIC)
            rowid = self.freeze_in_transaction(frozen)
            with self.worker("write", self.primary.url("m")):
                begun = time.monotonic()
                self.until_done("metric.write", {"op": "append", "uid": "m", "first_rowid": rowid,
                                                 "rows": bus.pack_rows(rows(rowid, 1))}, 30)
                self.assertLess(time.monotonic() - begun, 20)
                frozen.signal(signal.SIGCONT)

    def freeze_in_transaction(self, worker):
        """Stops the worker while it appends the row whose id is returned."""
        locked = ("SELECT count(*) FROM pg_stat_activity a JOIN pg_locks l USING (pid) WHERE state = 'idle in transaction'"
                  " AND application_name = 'metricmq' AND locktype = 'transactionid' AND mode = 'ExclusiveLock'")
        for rowid in range(1, 2000):
            self.client.send("metric.write", {"op": "append", "uid": "m", "first_rowid": rowid, "timeout": 30000,
                                              "rows": bus.pack_rows(rows(rowid, 1))})
            select.select([], [], [], self.random.uniform(0, 0.004))
            worker.signal(signal.SIGSTOP)
            select.select([], [], [], 0.02)  # what is at the server is answered
            if self.primary.sql(locked) == "1":
                return rowid
            worker.signal(signal.SIGCONT)
            while self.client.receive()[1]["status"] != 200:
                pass
        raise AssertionError("it is never seen in a transaction")

    def test_roles_that_start_before_their_server(self):
        """They say so and end with status 1, for the service manager to start them again; none serves without a store."""
        self.primary.url("m")
        url = self.primary.url("m")
        with self.worker("write", url):
            pass
        self.primary.stop()
        for kind in ("write", "query", "feedback"):
            done = harness.run("worker", kind, "--connect", self.broker.ready["workers"], "--data", self.folder / "none",
                               "--store", url, check=False, timeout=60)
            self.assertEqual(done.returncode, 1, done.err)
            self.assertIn("postgresql://", done.err)


if __name__ == "__main__":
    harness.main()
