"""`metricmq migrate --from --to`: a store goes over to another engine and back while it is written; whatever ends a run,
the next one goes on; what is no target of it stays as it is (docs/migration.md)."""
import contextlib
import csv
import errno
import os
import signal
import sqlite3
import subprocess
import threading
import unittest

import bus
import harness
import house
import postgres

BASE = 1700000000
STRIDE = 16 if harness.SLOW else 6  # a run kills at every so many calls, from a random one on


class Appender(threading.Thread):
    """Appends numbered rows to a metric of its own, from row `first` on; scores some; knows how many were acknowledged."""

    def __init__(self, endpoint, number, first=1):
        super().__init__(daemon=True)
        self.endpoint, self.uid, self.acknowledged = endpoint, f"appender-{number}", first - 1
        self.stopping, self.error = threading.Event(), None

    def run(self):
        try:
            with bus.Bus(self.endpoint) as client:
                house.create_metric(client, self.uid)
                while not self.stopping.is_set():
                    count = 1 + self.acknowledged % 300
                    rows = [(BASE + n // 3, float(n), None, None) for n in range(self.acknowledged + 1,
                                                                               self.acknowledged + 1 + count)]
                    client.call("metric.write", {"op": "append", "uid": self.uid,
                                                 "first_rowid": self.acknowledged + 1, "rows": bus.pack_rows(rows)})
                    self.acknowledged += count
        except BaseException as error:  # it must not vanish with the thread
            self.error = error

    def stop(self):
        self.stopping.set()
        self.join()


@contextlib.contextmanager
def appending(program, firsts):
    """Appenders while the block runs; {uid: acknowledged} is filled in at its end."""
    appenders = [Appender(program.ready["clients"], number, first) for number, first in enumerate(firsts)]
    for appender in appenders:
        appender.start()
    counts = {}
    try:
        yield appenders, counts
    finally:
        for appender in appenders:
            appender.stop()
    counts.update({appender.uid: appender.acknowledged for appender in appenders})
    errors = [appender.error for appender in appenders if appender.error]
    assert not errors, errors


class Migrate(harness.Case):
    @classmethod
    def setUpClass(cls):
        cls.server = None
        with contextlib.suppress(unittest.SkipTest):
            cls.server = postgres.Server()
            cls.server.start()
            cls.addClassCleanup(cls.server.__exit__, None)

    def setUp(self):
        super().setUp()
        self.data = self.folder / "data"
        self.store, self.copy = f"sqlite:{self.data / 'metricmq.db'}", f"sqlite:{self.folder / 'copy.db'}"

    def database(self):
        """The URL of an empty database."""
        if self.server is None:
            postgres.require()
        return self.server.url(self.id().rpartition(".")[2])

    def command(self, *args, status=0, env=None):
        done = harness.run(*args, check=False, env=env)
        self.assertEqual(done.returncode, status, (done.out, done.err))
        return done

    def migrate(self, source, target, *args, status=0, **options):
        done = self.command("migrate", "--from", source, "--to", target, *args, status=status, **options)
        if status == 0:
            self.assertEqual(done.err, "")  # silent where nobody looks
        return done

    def fill(self, rows=3000, metrics=1):
        with harness.up(self.data) as program, bus.Bus(program.ready["clients"]) as client:
            for number in range(metrics):
                name = f"metric-{number}"
                house.create_metric(client, name)
                for first in range(0, rows, 10000):
                    client.call("metric.write", {"op": "append", "uid": name, "rows": bus.pack_rows(
                        [(BASE + n, float(n * 7919 % 10007), None, None) for n in range(first, min(rows, first + 10000))])})

    def rows_of(self, program):
        text = self.command("query", "--connect", program.ready["clients"], "--anomaly", "-1", "--format", "csv",
                            "--from", 0).out
        rows = {}
        for row in csv.DictReader(text.splitlines()):
            rows.setdefault(row["uid"], []).append((int(row["rowid"]), float(row["value"])))
        return rows

    def expect_rows(self, program, counts):
        self.assertEqual({uid: len(rows) for uid, rows in self.rows_of(program).items()}, counts)
        for rows in self.rows_of(program).values():
            self.assertEqual(rows, [(n, float(n)) for n in range(1, len(rows) + 1)])

    def go_over(self, source, target, firsts):
        """Migrates beside workers that serve and write; each row that was acknowledged is in the copy. Its counts."""
        with harness.up(self.data, "--store", source) as program:
            with appending(program, firsts) as (appenders, counts):
                for _ in range(3):
                    before = [a.acknowledged for a in appenders]
                    done = self.migrate(source, target)
                    self.assertIn("not finished", done.out)
                    harness.wait_until(lambda: all(a.acknowledged > n + 1000 or a.error for a, n in
                                                   zip(appenders, before)), what="more rows")
                if source.startswith("sqlite"):
                    self.assertIn("a write worker has the source", self.migrate(source, target, "--finish", status=1).err)
                for args in ("check",), ("worker", "query"), ("worker", "write"), ("migrate",):
                    done = self.command(*args, "--store", target, status=1)
                    self.assertIn("is a copy that is not finished", done.out + done.err, args)
        done = self.migrate(source, target, "--finish")
        self.assertRegex(done.out, r"finished: whole, and the same as the source: \d+ metrics, .*sum [0-9a-f]{16}")
        self.assertIn("whole", self.command("check", "--store", target).out)
        self.assertIn("both stores hold the same", self.migrate(source, target).out)
        return counts

    def test_to_postgresql_and_back(self):
        database = self.database()
        counts = self.go_over(self.store, database, [1, 1])
        with harness.up(self.data, "--store", database) as program:
            self.expect_rows(program, counts)
        counts = self.go_over(database, self.copy, [n + 1 for n in counts.values()])
        with harness.up(self.data, "--store", self.copy) as program:
            self.expect_rows(program, counts)
            done = self.migrate(database, self.copy)
            self.assertIn("both stores hold the same", done.out)
            with bus.Bus(program.ready["clients"]) as client:
                house.create_metric(client, "new")
            done = self.migrate(database, self.copy, "--finish", status=1)  # by mistake: what is new there stays
            self.assertRegex(done.err, "a store like others already, and does not hold the same: metric new: only the target")
            self.assertIn("new", self.command("models", "--connect", program.ready["clients"]).out)

    # ---- whatever ends it -------------------------------------------------------------------

    def kill_at_calls(self, source, target, path):
        """kill -9 at each call on the path: the same command goes on, and ends with the same."""
        nth = harness.seed().randint(1, STRIDE)
        while True:
            env = house.preload(KILL_AT=nth, KILL_AT_PATH=path)
            done = harness.run("migrate", "--from", source, "--to", target, "--finish", check=False, env=env)
            if done.returncode == 0:
                break
            self.assertEqual(done.returncode, -signal.SIGKILL, (done.out, done.err))
            nth += STRIDE
        print(f"killed at up to {nth - 1} calls, one after the other, into one copy")
        self.assertIn("the same", self.migrate(source, target).out)
        self.assertIn("whole", self.command("check", "--store", target).out)

    def test_killed_at_calls(self):
        self.fill(4000, metrics=3)
        self.kill_at_calls(self.store, self.copy, "copy.db")

    def test_killed_at_calls_to_postgresql(self):
        database = self.database()
        self.fill(4000, metrics=3)
        self.kill_at_calls(self.store, database, "socket")
        self.kill_at_calls(database, self.copy, "socket")

    def test_a_standby_may_be_behind(self):
        """What a standby lacks is in the copy before it is a store."""
        database = self.database()
        self.fill(3000)
        self.migrate(self.store, database, "--finish")
        with self.server.standby() as standby:
            standby.catch_up(self.server)
            behind = standby.url(self.id().rpartition(".")[2])
            self.migrate(behind, self.copy)
            standby.pause()
            with harness.up(self.data, "--store", database) as program, bus.Bus(program.ready["clients"]) as client:
                house.create_metric(client, "new")
            self.assertIn("is a standby", self.migrate(behind, self.copy, "--finish", status=1).err)
            self.assertIn("1 new metrics", self.migrate(database, self.copy, "--finish").out)
            standby.resume()

    def kill_at_random(self, source, target):
        """Kills runs at random moments until one is done."""
        random, killed = harness.seed(), 0
        for patience in range(1, 200):
            process = subprocess.Popen([harness.PROGRAM, "migrate", "--from", source, "--to", target, "--finish"],
                                       stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(random.uniform(0, 0.005 * patience))
            process.kill()
            out, err = process.communicate()
            if process.returncode == 0:
                break
            self.assertEqual(process.returncode, -signal.SIGKILL, err)
            killed += 1
        print(f"killed {killed} times")
        self.assertIn("the same", self.migrate(source, target).out)
        self.assertIn("whole", self.command("check", "--store", target).out)

    def test_killed_at_random(self):
        database = self.database()
        self.fill(20000, metrics=6)
        self.kill_at_random(self.store, database)
        self.kill_at_random(database, self.copy)

    def test_postgresql_goes_away(self):
        database = self.database()
        self.fill(150000, metrics=2)
        for source, target in ((self.store, database), (database, self.copy)):
            process = subprocess.Popen([harness.PROGRAM, "migrate", "--from", source, "--to", target, "--finish"],
                                       stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.04)
            self.server.kill()
            self.assertRegex(self.migrate(source, target, status=1).err, "postgresql:///")
            self.server.start()
            _, err = process.communicate(timeout=60)  # it may have waited, to know what became of a commit
            self.assertIn(process.returncode, (0, 1), err)
            if process.returncode == 1:
                self.assertRegex(err.decode(), "PostgreSQL|postgresql")
            self.migrate(source, target, "--finish")
            self.assertIn("the same", self.migrate(source, target).out)

    def test_no_space(self):
        self.fill(20000)
        for first in (1, 10, 40):
            env = house.preload(KILL_AT=first, KILL_AT_DO=errno.ENOSPC, KILL_AT_ON=1, KILL_AT_CALLS="write,pwrite",
                                KILL_AT_PATH="copy.db")
            self.assertRegex(self.migrate(self.store, self.copy, status=1, env=env).err, "no space left|No space left")
        self.migrate(self.store, self.copy, "--finish")
        self.assertIn("the same", self.migrate(self.store, self.copy).out)

    # ---- what is refused ------------------------------------------------------------------------

    def image(self, path):
        with contextlib.closing(sqlite3.connect(path)) as db:
            return list(db.iterdump())

    def test_refuses(self):
        self.fill()
        url = self.store
        for args in (["--from", url], ["--to", url], ["--from", url, "--to", "mysql:x"], ["--from", "x", "--to", url],
                     ["--finish"], ["--from", url, "--to", "sqlite:"]):
            self.assertNotEqual(self.command("migrate", *args, status=2).err, "")
        self.assertIn("the same store", self.migrate(url, url, status=1).err)
        (self.folder / "link.db").symlink_to(self.data / "metricmq.db")
        self.assertIn("the same store", self.migrate(url, f"sqlite:{self.folder}/link.db", status=1).err)
        with harness.up(self.data):
            self.assertIn("the same store", self.migrate(url, f"sqlite:{self.folder}/link.db", status=1).err)
        self.assertIn("there is no store", self.migrate(f"sqlite:{self.folder}/none.db", self.copy, status=1).err)
        self.assertFalse((self.folder / "copy.db").exists())
        self.migrate(url, f"sqlite:{self.folder}/no/such.db", status=1)
        path = self.folder / "other.db"
        for content, said in ((b"", "is an empty file"), (b"hello" * 5000, "is no SQLite database")):
            path.write_bytes(content)
            self.assertIn(said, self.migrate(url, f"sqlite:{path}", status=1).err)
            self.assertIn(said, self.migrate(f"sqlite:{path}", self.copy, status=1).err)
            self.assertEqual(path.read_bytes(), content)

    def test_refuses_targets_that_are_not_its_own(self):
        self.fill()
        other = self.folder / "other"
        with harness.up(other) as program, bus.Bus(program.ready["clients"]) as client:
            house.create_metric(client, "theirs")
            target = f"sqlite:{other / 'metricmq.db'}"
            before = self.image(other / "metricmq.db")
            self.assertIn("is a store like others already", self.migrate(self.store, target, "--finish", status=1).err)
            self.assertEqual(self.image(other / "metricmq.db"), before)
        files = {path.name: path.read_bytes() for path in other.glob("metricmq.db*") if not path.name.endswith("-shm")}
        self.assertIn("is a store like others already", self.migrate(self.store, target, "--finish", status=1).err)
        self.assertEqual({name: (other / name).read_bytes() for name in files}, files)  # not even its log was touched
        self.migrate(self.store, self.copy)
        done = self.migrate(target, self.copy, "--finish", status=1)
        self.assertIn("a copy of another store", done.err)
        self.assertIn("is a copy that is not finished", self.migrate(self.copy, f"sqlite:{self.folder}/c.db", status=1).err)
        self.assertIn("is a copy that is not finished", self.command("backup", "--store", self.copy,
                                                                     self.folder / "b.db", status=1).err)

    def test_refuses_newer_schemas_and_damage(self):
        self.fill(3000, metrics=2)
        path = self.data / "metricmq.db"
        good = path.read_bytes()
        for sql, said in (("PRAGMA user_version = 99", "schema version 99"),
                          ("UPDATE block SET head_check = 1 WHERE metric = 2",
                           "metric metric-1, in the source: the store is damaged: the head of the block"),
                          ("UPDATE block_data SET data = zeroblob(50) WHERE key = (SELECT max(key) FROM block_data)",
                           "metric metric-1, in the source: the store is damaged: the data of the block"),
                          ("UPDATE metric SET last_rowid = last_rowid + 1", "the copy is not whole")):
            with self.subTest(sql):
                with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
                    db.execute(sql)
                    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                self.assertIn(said, self.migrate(self.store, self.copy, "--finish", status=1).err)
                self.command("check", "--store", self.copy, status=1)
                path.write_bytes(good)
        self.migrate(self.store, self.copy, "--finish")

    def test_refuses_postgresql(self):
        database = self.database()
        self.fill()
        self.migrate(self.store, database)
        for version, said in ((99, "schema version 99"), (-99, "schema version -99")):
            self.server.sql(f"UPDATE metricmq.store SET version = {version}", database="test_refuses_postgresql")
            self.assertIn(said, self.migrate(self.store, database, status=1).err)
            self.assertIn(said, self.migrate(database, self.copy, status=1).err)
        self.assertRegex(self.migrate(self.store, database.replace("postgresql://metricmq@/", "postgresql://metricmq@/no"),
                                      status=1).err, "does not exist")
        nowhere = f"postgresql:///x?host={self.folder}"
        self.assertIn("postgresql:///", self.migrate(self.store, nowhere, status=1).err)

    # ---- what is seen ---------------------------------------------------------------------------

    def test_progress_and_stop(self):
        self.fill(300000, metrics=2)
        ours, its = os.openpty()
        done = subprocess.run([harness.PROGRAM, "migrate", "--from", self.store, "--to", self.copy], stderr=its,
                              stdout=subprocess.PIPE, timeout=60, check=True)
        os.close(its)
        self.assertIn(b"copying rows", os.read(ours, 65536))
        os.close(ours)
        self.assertIn(b"copied 600000 rows", done.stdout)
        random, stopped = harness.seed(), 0
        for number in range(5):
            target = f"sqlite:{self.folder}/stopped{number}.db"
            process = subprocess.Popen([harness.PROGRAM, "migrate", "--from", self.store, "--to", target, "--finish"],
                                       stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
            threading.Event().wait(random.uniform(0.01, 0.1))  # the random point
            process.send_signal(signal.SIGINT)
            text = process.communicate(timeout=60)[1].decode()
            if process.returncode == 1:
                self.assertIn("stopped: the copy is not finished", text)
                stopped += 1
                self.migrate(self.store, target, "--finish")
            else:
                self.assertIn(process.returncode, (0, -signal.SIGINT), text)  # done, or before it had begun
        print(f"stopped on the way: {stopped} of 5")


if __name__ == "__main__":
    harness.main()
