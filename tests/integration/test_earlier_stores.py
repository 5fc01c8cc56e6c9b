"""Stores as every earlier form of the schema had them, made by the releases of that time (fixtures/stores): each opens,
migrates, is whole, holds what was written, and is restored from; one of a later version is refused."""
import contextlib
import csv
import hashlib
import importlib.util
import io
import sqlite3
import time

import msgpack

import bus
import harness
import old_store

SPEC = importlib.util.spec_from_file_location("contents", harness.SOURCE / "tests/fixtures/stores/contents.py")
contents = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(contents)


class EarlierStores(harness.Case):
    def open(self, name, folder="data"):
        data = self.folder / folder
        data.mkdir()
        contents.unpack(name, data / "metricmq.db")
        return data

    def expect(self, data, name):
        """All rows are as they were written, by time and by rowid."""
        wanted = contents.kept(name)
        with harness.up(data) as program, bus.Bus(program.ready["clients"]) as client:
            text = harness.run("query", "--connect", program.ready["clients"], "--anomaly", "-1", "--format", "csv").out
            got = {uid: {} for uid in wanted}
            for row in csv.DictReader(text.splitlines()):
                got[row["uid"]][int(row["rowid"])] = row
            for uid, rows in wanted.items():
                self.assertEqual(sorted(got[uid]), sorted(rows), uid)
                for rowid, (timestamp, value, score, _) in rows.items():
                    row = got[uid][rowid]
                    self.assertEqual(row["timestamp"], time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(timestamp)))
                    self.assertTrue(old_store.same(float(row["value"]), float(value)), (uid, rowid, row))
                    shown = float(row["anomaly_score"]) if row["anomaly_score"] else None
                    self.assertTrue(old_store.same(shown, score), (uid, rowid, row))
            self.expect_export(client, wanted)
            self.expect_records(client)
        self.assertRegex(harness.run("check", "--data", data).out, f"^whole: {len(wanted)} metrics, ")

    def expect_export(self, client, wanted):
        values = msgpack.Unpacker(io.BytesIO(b"".join(payload for _, payload in client.pages({"op": "export"}))))
        uid, rows = None, {}
        for value in values:
            if isinstance(value, dict):
                uid = value["uid"]
                rows[uid] = []
            else:
                rows[uid].append(tuple(value))
        self.assertEqual(rows, {uid: [(row[0], float(row[1]), *row[2:]) for _, row in sorted(made.items())]
                                for uid, made in wanted.items()})

    def expect_records(self, client):
        records = {record["uid"]: record for record in bus.unpack_all(client.stream({"op": "models"}))}
        self.assertNotIn("gone", records)
        for uid, made in contents.rows().items():
            self.assertEqual(records[uid]["last_rowid"], len(made))  # whatever was pruned

    def test_opened_by_the_write_worker(self):
        for name in contents.NAMES:
            with self.subTest(name):
                self.expect(self.open(name, name), name)

    def test_copied(self):
        """`migrate --from --to` takes a store as it is, if its rows are in blocks; the copy is of the current form."""
        for name in contents.NAMES:
            with self.subTest(name):
                source, data = self.open(name, name) / "metricmq.db", self.folder / f"copy-{name}"
                data.mkdir()
                image = source.read_bytes()
                urls = "--from", f"sqlite:{source}", "--to", f"sqlite:{data / 'metricmq.db'}"
                done = harness.run("migrate", *urls, "--finish", check=False)
                self.assertEqual(source.read_bytes(), image)
                if name.startswith("v1"):
                    self.assertRegex(done.err, "is of an earlier form|is being brought to a new form")
                    self.assertFalse((data / "metricmq.db").exists())
                    back = harness.run("migrate", "--from", f"sqlite:{self.open('v4', f'4-{name}')}/metricmq.db", "--to",
                                       f"sqlite:{source}", check=False)
                    self.assertRegex(back.err, "is of an earlier form|is being brought to a new form")
                    self.assertEqual(source.read_bytes(), image)
                    continue
                self.assertIn("finished: whole", done.out)
                self.assertIn("both stores hold the same", harness.run("migrate", *urls).out)
                self.assertIn("nothing to do", harness.run("migrate", "--data", data).out)
                self.expect(data, name)

    def test_migrated_by_hand(self):
        for name in contents.NAMES:
            with self.subTest(name):
                data = self.open(name, name)
                expected = "nothing to do" if name == "v4" else "brought to the current form: "
                self.assertIn(expected, harness.run("migrate", "--data", data).out)
                self.assertIn("nothing to do", harness.run("migrate", "--data", data).out)
                with contextlib.closing(sqlite3.connect(f"file:{data / 'metricmq.db'}?mode=ro", uri=True)) as db:
                    self.assertEqual(db.execute("PRAGMA user_version").fetchone(), (4,))
                    self.assertEqual(db.execute("SELECT count(*) FROM block WHERE value_summary IS NULL").fetchone(), (0,))

    def test_heads_are_completed_by_the_write_worker(self):
        """In its idle moments; what is asked meanwhile is the same but for the last bits of means."""
        def ask(client):
            return [[value if name != 7 else f"{value:.12g}" for name, value in enumerate(bucket)]
                    for uid in ("steady", "restless") for buckets in (1, 7, 100)
                    for bucket in bus.unpack_all(client.stream({"op": "summary", "uid": uid, "buckets": buckets}))[1:]]
        answers = []
        for name in ("v3", "v4"):
            data = self.open(name, name)
            with harness.up(data) as program, bus.Bus(program.ready["clients"]) as client:
                answers.append(ask(client))
                with contextlib.closing(sqlite3.connect(f"file:{data / 'metricmq.db'}?mode=ro", uri=True)) as db:
                    harness.wait_until(lambda: db.execute("SELECT count(*) FROM block WHERE value_summary IS NULL")
                                       .fetchone() == (0,), what="heads that are complete")
                answers.append(ask(client))
        self.assertGreater(len(answers[0]), 150)
        for answer in answers[1:]:
            self.assertEqual(answer, answers[0])

    def test_readers_take_version_2_as_it_is(self):
        data = self.open("v2")
        self.assertRegex(harness.run("check", "--data", data).out, "^whole: 83 metrics, ")
        self.assertRegex(harness.run("backup", "--data", data, self.folder / "v2.db").out, "whole: 83 metrics, ")
        with contextlib.closing(sqlite3.connect(self.folder / "v2.db")) as db:
            self.assertEqual(db.execute("PRAGMA user_version").fetchone(), (2,))
        harness.run("restore", "--data", self.folder / "new", self.folder / "v2.db")
        self.expect(self.folder / "new", "v2")

    def test_restored(self):
        for name in contents.NAMES:
            with self.subTest(name):
                file, data = self.folder / f"{name}.db", self.folder / f"restored-{name}"
                contents.unpack(name, file)
                before = hashlib.sha256(file.read_bytes()).digest()
                self.assertRegex(harness.run("restore", "--data", data, file).out, r"^restored \S+: whole: 83 metrics, ")
                self.assertEqual(hashlib.sha256(file.read_bytes()).digest(), before)
                with contextlib.closing(sqlite3.connect(f"file:{data / 'metricmq.db'}?mode=ro", uri=True)) as db:
                    self.assertEqual(db.execute("PRAGMA user_version").fetchone(), (4,))
                self.expect(data, name)

    def test_of_which_forms_they_are(self):
        """So that nobody makes them anew with a release that has forgotten how."""
        forms = {"v1": (1, {"row"}), "v1-moving": (2, {"old_row", "block"}), "v2": (2, {"block"}),
                 "v3": (3, {"block", "gap", "pruned"}), "v4": (4, {"block", "gap", "pruned"})}
        for name, (version, tables) in forms.items():
            data = self.open(name, name)
            with contextlib.closing(sqlite3.connect(data / "metricmq.db")) as db:
                self.assertEqual(db.execute("PRAGMA user_version").fetchone(), (version,))
                there = {table for table, in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
                self.assertEqual(there & {"row", "old_row", "block", "gap", "pruned"}, tables, name)
                for table in tables & {"row", "old_row", "block", "gap"}:
                    self.assertGreater(db.execute(f"SELECT count(*) FROM {table}").fetchone()[0], 0, (name, table))

    def test_a_later_version_is_refused(self):
        data = self.open("v4")
        store = data / "metricmq.db"
        with contextlib.closing(sqlite3.connect(store)) as db:
            db.execute("PRAGMA user_version = 5")
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        before = store.read_bytes()
        for command in (["up"], ["worker", "write", "--connect", "tcp://127.0.0.1:1"], ["check"],
                        ["backup", self.folder / "out.db"], ["migrate"]):
            done = harness.run(*command, "--data", data, check=False)
            self.assertEqual(done.returncode, 1, command)
            self.assertIn("schema version 5 and this program knows 4", done.out + done.err)
        done = harness.run("restore", "--data", self.folder / "new", store, check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("schema version 5 and this program knows 4", done.err)
        self.assertEqual(store.read_bytes(), before)


if __name__ == "__main__":
    harness.main()
