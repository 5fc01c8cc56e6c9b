"""Backups and restores: consistent beside writers, whole or not there at all, whatever happens meanwhile."""
import contextlib
import csv
import errno
import os
import signal
import sqlite3
import subprocess
import threading

import bus
import harness
import house

BASE = 1700000000
STRIDE = 4 if harness.SLOW else 2  # a run kills at every so many calls, from a random one on


class Appender(threading.Thread):
    """Appends numbered rows to a metric of its own; knows how many were acknowledged."""

    def __init__(self, endpoint, number):
        super().__init__(daemon=True)
        self.endpoint, self.name_of_metric, self.acknowledged = endpoint, f"appender-{number}", 0
        self.stopping, self.error = threading.Event(), None

    def run(self):
        try:
            with bus.Bus(self.endpoint) as client:
                house.create_metric(client, self.name_of_metric)
                while not self.stopping.is_set():
                    count = 1 + self.acknowledged % 700
                    rows = [(BASE + n, float(n), None, n / 7) for n in range(self.acknowledged + 1,
                                                                            self.acknowledged + 1 + count)]
                    client.call("metric.write", {"op": "append", "uid": self.name_of_metric,
                                                 "first_rowid": self.acknowledged + 1, "rows": bus.pack_rows(rows)})
                    self.acknowledged += count
        except BaseException as error:  # it must not vanish with the thread
            self.error = error


class Keeping(harness.Case):
    def setUp(self):
        super().setUp()
        self.data, self.file = self.folder / "data", self.folder / "backup.db"

    def fill(self, rows=3000, name="one"):
        with harness.up(self.data) as program, bus.Bus(program.ready["clients"]) as client:
            house.create_metric(client, name)
            client.call("metric.write", {"op": "append", "uid": name, "rows": bus.pack_rows(
                [(BASE + n, float(n), None, None) for n in range(rows)])})

    def command(self, *args, status=0, env=None):
        done = harness.run(*args, check=False, env=env)
        self.assertEqual(done.returncode, status, (done.out, done.err))
        return done

    def rows_of(self, data):
        """{uid: [(rowid, value)]} of a store."""
        with harness.up(data) as program:
            text = self.command("query", "--connect", program.ready["clients"], "--anomaly", "-1", "--format", "csv",
                                "--from", 0).out
        rows = {}
        for row in csv.DictReader(text.splitlines()):
            rows.setdefault(row["uid"], []).append((int(row["rowid"]), float(row["value"])))
        return rows

    def expect_nothing_left(self, *files):
        left = sorted(path.name for path in self.folder.iterdir() if path.is_file() and path not in files)
        self.assertEqual(left, [])

    # ---- backup -----------------------------------------------------------------------------

    def test_backup_beside_writers(self):
        """Every row that was acknowledged before the backup began is in what it restores to."""
        with harness.up(self.data) as program:
            appenders = [Appender(program.ready["clients"], number) for number in range(3)]
            for appender in appenders:
                appender.start()
            harness.wait_until(lambda: all(a.acknowledged > 5000 or a.error for a in appenders), what="the rows")
            before = {a.name_of_metric: a.acknowledged for a in appenders}
            done = self.command("backup", "--data", self.data, self.file)
            after = {a.name_of_metric: a.acknowledged for a in appenders}
            for appender in appenders:
                appender.stopping.set()
                appender.join()
                self.assertIsNone(appender.error)
        self.assertEqual(done.err, "")  # silent where nobody looks
        self.assertRegex(done.out, r"^backup \S+: whole: 3 metrics, \d+ rows, \d+\.\d MiB, as of commit \d+, in ")
        self.assertEqual(self.file.stat().st_mode & 0o777, 0o600)
        self.expect_nothing_left(self.file)
        self.command("restore", "--data", self.folder / "new", self.file)
        self.assertIn("whole: 3 metrics", self.command("check", "--data", self.folder / "new").out)
        for uid, rows in self.rows_of(self.folder / "new").items():
            self.assertEqual(rows, [(n, float(n)) for n in range(1, len(rows) + 1)])
            self.assertGreaterEqual(len(rows), before.pop(uid))
            self.assertLessEqual(len(rows), after[uid] + 700)
        self.assertEqual(before, {})

    def test_backup_of_a_store_at_rest(self):
        self.fill()
        before = (self.data / "metricmq.db").read_bytes()
        self.command("backup", "--data", self.data, self.file)
        self.assertEqual((self.data / "metricmq.db").read_bytes(), before)
        kept = self.file.read_bytes()
        self.assertIn("replaces nothing", self.command("backup", "--data", self.data, self.file, status=1).err)
        self.assertEqual(self.file.read_bytes(), kept)
        self.assertIn("whole: 1 metrics", self.command("check", "--store", f"sqlite:{self.file}").out)
        self.command("backup", "--data", self.folder / "none", self.folder / "other.db", status=1)
        self.command("backup", "--data", self.data, self.folder / "no" / "such.db", status=1)
        self.expect_nothing_left(self.file)

    def test_backup_shows_how_far_it_is(self):
        self.fill()
        ours, its = os.openpty()
        done = subprocess.run([harness.PROGRAM, "backup", "--data", self.data, self.file], stderr=its,
                              stdout=subprocess.PIPE, timeout=60, check=True)
        os.close(its)
        self.assertIn(b"copying pages", os.read(ours, 65536))
        os.close(ours)
        self.assertIn(b"whole", done.stdout)

    def test_backup_is_interrupted(self):
        """SIGINT at any moment leaves the backup, or nothing."""
        self.fill(200000 // STRIDE)
        random, stopped = harness.seed(), 0
        for _ in range(6):
            process = subprocess.Popen([harness.PROGRAM, "backup", "--data", self.data, self.file],
                                       stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
            threading.Event().wait(random.uniform(0, 0.06))  # the random point
            process.send_signal(signal.SIGINT)
            text = process.communicate(timeout=60)[1].decode()
            if process.returncode == 1:
                self.assertIn("stopped: there is no backup", text)
                stopped += 1
            elif process.returncode == 0:
                self.command("check", "--store", f"sqlite:{self.file}")
                self.file.unlink()
            else:
                self.assertEqual(process.returncode, -signal.SIGINT, text)  # before it had begun
            self.expect_nothing_left()
        print(f"stopped on the way: {stopped} of 6")

    def test_no_space_for_a_backup(self):
        self.fill()
        for first in (1, 3, 8):
            env = house.preload(KILL_AT=first, KILL_AT_DO=errno.ENOSPC, KILL_AT_ON=1, KILL_AT_CALLS="write,pwrite",
                                KILL_AT_PATH=".partial")
            done = self.command("backup", "--data", self.data, self.file, status=1, env=env)
            self.assertRegex(done.err, "no space left for the backup .*backup.db")
            self.expect_nothing_left()

    def kills(self, *args):
        """Runs a command again and again, killed at one call after the other; yields after each kill."""
        log, nth = self.folder / "calls.log", harness.seed().randint(1, STRIDE)
        while True:
            env = house.preload(KILL_AT=nth, KILL_AT_LOG=log)
            done = harness.run(*args, check=False, env=env)
            if done.returncode == 0:
                break
            self.assertEqual(done.returncode, -signal.SIGKILL, (done.out, done.err))
            call = log.read_text()
            log.unlink()
            yield nth, call
            nth += STRIDE
        print(f"{args[0]}: killed at {nth - 1} calls, one after the other")

    def test_backup_is_killed_anywhere(self):
        """kill -9 at each call: the name is the backup's only if that is whole; the next backup cleans up."""
        self.fill()
        for nth, call in self.kills("backup", "--data", self.data, self.file):
            if self.file.exists():
                self.assertIn("whole", self.command("check", "--store", f"sqlite:{self.file}").out, (nth, call))
                self.file.unlink()
        self.assertIn("whole", self.command("check", "--store", f"sqlite:{self.file}").out)
        self.expect_nothing_left(self.file)

    # ---- restore ----------------------------------------------------------------------------

    def test_restore_refuses(self):
        self.fill()
        self.command("backup", "--data", self.data, self.file)
        done = self.command("restore", "--data", self.data, self.file, status=1)
        self.assertIn("--keep-old puts it aside", done.err)
        with harness.up(self.data):
            done = self.command("restore", "--data", self.data, "--keep-old", self.file, status=1)
            self.assertIn("another process owns the store", done.err)
        with harness.Program("broker", "--bind", harness.LOCAL, "--bind-workers", harness.LOCAL) as broker:
            with harness.Program("worker", "query", "--data", self.data, "--connect", broker.ready["workers"]) as reader:
                done = self.command("restore", "--data", self.data, "--keep-old", self.file, status=1)
                self.assertIn(f"process {reader.process.pid} has the store", done.err)
        store = f"sqlite:{self.data / 'metricmq.db'}"
        done = self.command("restore", "--store", store, "--keep-old", self.data / "metricmq.db", status=1)
        self.assertIn("is the store itself", done.err)
        before = self.rows_of(self.data)
        good = self.file.read_bytes()
        for name, content in (("empty", b""), ("text", b"hello" * 5000), ("cut", good[:len(good) // 2 + 100]),
                              ("damaged", good)):
            path = self.folder / name
            path.write_bytes(content)
            if name == "damaged":
                with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
                    db.execute("UPDATE block_data SET data = zeroblob(50) WHERE key = 1")
            self.command("restore", "--data", self.data, "--keep-old", path, status=1)
            self.assertFalse((self.data / "metricmq.db.restoring").exists())
            path.unlink()
        self.assertEqual(self.rows_of(self.data), before)

    def test_restore_refuses_what_is_hostile(self):
        """What bears our marks and is no sound store is refused by a sentence, whoever made it; nothing is touched."""
        self.fill()
        self.command("backup", "--data", self.data, self.file)
        good, image = self.file.read_bytes(), (self.data / "metricmq.db").read_bytes()
        hostile = {
            "CREATE TRIGGER t AFTER UPDATE ON store BEGIN DELETE FROM metric; END": "is not what metricmq makes",
            "CREATE INDEX i ON metric (abs(key))": "is not what metricmq makes",
            "DROP TABLE growth; CREATE VIEW growth AS SELECT 1 AS metric, 1 AS commit_no, 1 AS before_rowid, 1 AS at":
                "is not what metricmq makes",
            "PRAGMA application_id = 7": "another program's database",
            "PRAGMA user_version = 5": "schema version 5 and this program knows 4",
            "UPDATE metric SET last_rowid = last_rowid + 1": "is damaged: ",
            "INSERT INTO gap VALUES (1, 5, 5)": "is damaged: ",
            "DELETE FROM block": "is damaged: ",
            "UPDATE metric SET uid = 'a/../b'": "damaged",
        }
        for sql, said in hostile.items():
            with self.subTest(sql):
                self.file.write_bytes(good)
                with contextlib.closing(sqlite3.connect(self.file, isolation_level=None)) as db:
                    db.executescript(sql)
                    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                    db.execute("PRAGMA journal_mode = DELETE")
                done = self.command("restore", "--data", self.data, "--keep-old", self.file, status=1)
                self.assertIn(said, done.err)
                done = self.command("check", "--store", f"sqlite:{self.file}", status=1)
                self.assertIn(said.removeprefix("is "), done.out + done.err)
                self.assertEqual((self.data / "metricmq.db").read_bytes(), image)
        pipe = self.folder / "pipe"
        os.mkfifo(pipe)
        for path in (pipe, self.folder, "/dev/zero"):
            self.assertIn("is no regular file", self.command("restore", "--data", self.data, "--keep-old", path,
                                                             status=1).err)
        self.assertEqual({path.name for path in self.data.glob("metricmq.db*")} - {"metricmq.db-wal", "metricmq.db-shm"},
                         {"metricmq.db", "metricmq.db.lock"})

    def test_no_space_for_a_restore(self):
        self.fill()
        self.command("backup", "--data", self.data, self.file)
        image = (self.data / "metricmq.db").read_bytes()
        for first in (1, 2, 8):
            env = house.preload(KILL_AT=first, KILL_AT_DO=errno.ENOSPC, KILL_AT_ON=1, KILL_AT_CALLS="write,pwrite,link,rename",
                                KILL_AT_PATH="metricmq.db")
            done = self.command("restore", "--data", self.data, "--keep-old", self.file, status=1, env=env)
            self.assertRegex(done.err, "no space left|No space left")
            self.assertEqual((self.data / "metricmq.db").read_bytes(), image)
            self.assertFalse((self.data / "metricmq.db.restoring").exists())
        self.command("restore", "--data", self.data, "--keep-old", self.file)

    def test_restore_over_an_old_store(self):
        """The old store is kept with its log; states of before do not count; then all goes on."""
        self.fill()
        self.command("backup", "--data", self.data, self.file)
        with harness.up(self.data) as program, bus.Bus(program.ready["clients"]) as client:
            client.call("metric.write", {"op": "append", "uid": "one", "rows": bus.pack_rows([(BASE, 4.5, None, None)])})
            state = client.call("metric.query", {"op": "data", "uid": "one"})[0]["state"]
            program.kill()  # so that there is a log
        self.assertGreater((self.data / "metricmq.db-wal").stat().st_size, 0)
        done = self.command("restore", "--data", self.data, "--keep-old", self.file)
        self.assertRegex(done.out, r"(?s)^restored .*kept as .*metricmq.db.old-1\n.*start the write worker.*spool")
        with harness.up(self.data) as program, bus.Bus(program.ready["clients"]) as client:
            rows = bus.pack_rows([(BASE, 5.5, None, None)])
            client.call("metric.write", {"op": "append", "uid": "one", "rows": rows})
            header, _ = client.call("metric.query", {"op": "data", "uid": "one", "unless": state})
            self.assertEqual(header["status"], 200)
            self.assertNotEqual(header["state"], state)
        self.assertEqual(sorted(self.rows_of(self.data)["one"])[-1], (3001, 5.5))
        self.command("restore", "--data", self.data, "--keep-old", self.data / "metricmq.db.old-1")
        rows = self.rows_of(self.data)["one"]
        self.assertEqual(sorted(rows)[-1], (3001, 4.5))
        self.assertTrue((self.data / "metricmq.db.old-2").exists())

    def test_restore_is_killed_anywhere(self):
        """kill -9 at each call: the old store, the new one, or one that is missing and not made anew."""
        self.fill(name="old")
        other = self.folder / "other"
        self.data, old = other, self.data
        self.fill(name="new")
        self.command("backup", "--data", other, self.file)
        image = (old / "metricmq.db").read_bytes()
        seen = {"old": 0, "new": 0, "missing": 0}
        store = old / "metricmq.db"
        for nth, call in self.kills("restore", "--data", old, "--keep-old", self.file):
            if store.exists():
                out = self.command("check", "--data", old).out
                self.assertIn("whole: 1 metrics", out, (nth, call))
                is_old = b"old" in store.read_bytes()
                seen["old" if is_old else "new"] += 1
            else:
                done = self.command("worker", "write", "--data", old, "--connect", "tcp://127.0.0.1:1", status=1)
                self.assertIn("metricmq restore", done.err, (nth, call))
                seen["missing"] += 1
                self.command("restore", "--data", old, "--keep-old", self.file)
            for path in old.glob("metricmq.db*"):
                path.unlink()
            store.write_bytes(image)
        self.assertGreater(seen["old"], 0)  # "new" and "missing" are a few calls only
        self.assertIn(b"new", store.read_bytes())
        self.assertEqual((old / "metricmq.db.old-1").read_bytes(), image)
        print(seen)

    def test_usage(self):
        for name in ("backup", "restore"):
            self.assertIn("--store", harness.run(name, "--help").out)
            for wrong in ([], ["a", "b"], ["--store", "mysql:x", "a"], ["--rows", "3", "a"], [""]):
                self.assertEqual(harness.run(name, *wrong, check=False).returncode, 2, wrong)


if __name__ == "__main__":
    harness.main()
