"""The store's own commands, and stores of an earlier form (F51, F58)."""
import csv
import sqlite3
import threading
import time

import harness
import old_store

ROWS = 50000 if harness.SLOW else 150000

BRINGING = "bringing the store to schema 4"


class Storage(harness.Case):
    def setUp(self):
        super().setUp()
        self.data = self.folder / "data"
        self.data.mkdir()
        self.path = self.data / "metricmq.db"

    def command(self, name, status=0):
        done = harness.run(name, "--data", self.data, check=False)
        self.assertEqual(done.returncode, status, (done.out, done.err))
        return done

    def make_old(self, random):
        metrics = {"long": old_store.rows(random, ROWS), "short": old_store.rows(random, 1500), "empty": [],
                   "-gone": old_store.rows(random, 2000)}
        old_store.make(self.path, metrics)
        return {uid: rows for uid, rows in metrics.items() if not uid.startswith("-")}

    def expect_rows(self, program, metrics):
        for uid, wanted in metrics.items():
            text = harness.run("query", uid, "--connect", program.ready["clients"], "--anomaly", -1, "--format", "csv")
            got = {int(row["rowid"]): row for row in csv.DictReader(text.out.splitlines())}
            self.assertEqual(len(got), len(wanted), uid)
            for rowid, (timestamp, value, score, _) in enumerate(wanted, 1):
                row = got[rowid]
                at = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(timestamp))
                self.assertEqual(row["timestamp"], at, (uid, rowid))
                self.assertTrue(old_store.same(float(row["value"]), float(value)), (uid, rowid, row))
                shown = float(row["anomaly_score"]) if row["anomaly_score"] else None
                self.assertTrue(old_store.same(shown, score), (uid, rowid, row))

    def test_old_store_is_killed_on_the_way(self):
        """F58: kill -9 of `up` while it brings the store to the new form; then it goes on, and all rows are there."""
        random = harness.seed()
        metrics = self.make_old(random)
        refused = 0
        for attempt in range(6):
            program = harness.Program("up", "--data", self.data, "--http", "127.0.0.1:0", "--bind", harness.LOCAL,
                                      "--bind-workers", harness.LOCAL, wait=False)
            if attempt == 0:
                harness.wait_until(lambda: BRINGING in program.errors(), what="the worker's word")
            else:
                threading.Event().wait(random.uniform(0, 0.05 * (attempt + 2)))  # the random point
            program.kill()
            line = harness.run("check", "--data", self.data, check=False).err
            refused += "earlier form" in line or "being brought to a new form" in line
        print(f"unfinished after {refused} of 6")  # none where the machine is fast; test_store_migrate counts its kills
        with harness.up(self.data) as program:
            self.expect_rows(program, metrics)
        self.assertIn("whole: 3 metrics", self.command("check").out)

    def test_old_store_and_its_readers(self):
        """A worker that only reads says who can help; a stop in the middle is no failure."""
        metrics = self.make_old(harness.seed())
        done = harness.run("worker", "query", "--data", self.data, "--connect", "tcp://127.0.0.1:1", check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("start the write worker (metricmq up)", done.err)
        with harness.Program("broker", "--bind", harness.LOCAL, "--bind-workers", harness.LOCAL) as broker:
            worker = harness.Program("worker", "write", "--data", self.data, "--connect", broker.ready["workers"],
                                     wait=False)
            harness.wait_until(lambda: BRINGING in worker.errors(), what="the worker's word")
            worker.stop()
            again = harness.Program("worker", "write", "--data", self.data, "--connect", broker.ready["workers"])
            again.stop()
        with harness.up(self.data) as program:
            self.expect_rows(program, {"short": metrics["short"]})

    def test_migrate(self):
        self.assertIn("metricmq.db", self.command("migrate", 1).err)
        metrics = self.make_old(harness.seed())
        before = self.path.stat().st_size
        self.assertRegex(self.command("migrate").out, rf"^brought to the current form: {ROWS + 1500} rows moved in ")
        if not harness.SLOW:  # where there are too few rows to give pages back
            self.assertLess(self.path.stat().st_size, before)
        self.assertEqual(self.command("migrate").out, "nothing to do: the store is of the current form\n")
        self.assertRegex(self.command("check").out, rf"^whole: 3 metrics, \d+ blocks, {ROWS + 1500} rows, ")
        with harness.up(self.data) as program:
            self.command("migrate")
            self.expect_rows(program, {"short": metrics["short"]})

    def test_check(self):
        self.assertIn("metricmq.db", self.command("check", 1).err)
        with harness.up(self.data) as program:
            harness.run("demo", "--connect", program.ready["clients"], "--metrics", 3, "--rows", 5000)
            self.assertRegex(self.command("check").out,
                             r"^whole: 3 metrics, \d+ blocks, 15000 rows, \d+\.\d\d bytes a row\n$")
            load = harness.Program("demo", "--connect", program.ready["clients"], "--metrics", 20, "--rows", 5000,
                                   wait=False)
            while load.process.poll() is None:  # beside a writer
                self.assertRegex(self.command("check").out, "^whole: ")
            self.assertEqual(load.process.wait(), 0)
            load.close()
        self.assertEqual(harness.run("check", "--store", f"sqlite:{self.path}").err, "")
        with sqlite3.connect(self.path) as db:
            uid, key, at = db.execute("SELECT uid, key, min(first_timestamp) FROM metric JOIN block ON metric = key"
                                      " GROUP BY key LIMIT 1").fetchone()
            db.execute("UPDATE block_data SET data = zeroblob(50) WHERE key = (SELECT data FROM block"
                       " WHERE metric = ? AND first_timestamp = ?)", (key, at))
        db.close()
        out = self.command("check", 1).out.splitlines()
        self.assertEqual(out[0], f"metric {uid}: block from timestamp {at}: its data does not agree with its check")
        self.assertRegex(out[1], r"^damaged: 1 fault in 20 metrics, ")

    def test_check_of_files_that_are_none(self):
        for content, says in ((b"", "empty file"), (b"hello" * 1000, "no SQLite database")):
            self.path.write_bytes(content)
            self.assertIn(says, self.command("check", 1).out)

    def test_usage(self):
        for name in ("check", "migrate"):
            self.assertIn("--store", harness.run(name, "--help").out)
            for wrong in (["extra"], ["--store", "mysql:x"], ["--rows", "3"]):
                self.assertEqual(harness.run(name, *wrong, check=False).returncode, 2, wrong)


if __name__ == "__main__":
    harness.main()
