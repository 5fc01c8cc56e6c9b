"""Archives of feedback dumps: made by the real program, read by GNU tar, bsdtar and Python. F67, F68, F70-F73, F76."""
import json
import re
import shutil

import msgpack

import bus
import harness
import house
import kills
from dumps import members, source_rows, wanted_csv, write_csv

KEY = re.compile(r"metric_dumps/[-A-Za-z0-9_.]+-metric_dump_[-A-Za-z0-9_.]+_\d{8}-\d{6}-[0-9a-f]{8}\.tar\.gz")


class Archives(harness.Case):
    def start(self):
        program = harness.up(self.folder / "data")
        self.addCleanup(program.__exit__, None, None, None)
        self.client = ["--connect", program.ready["clients"]]
        return program

    def load(self, name, rows, scored=True):
        path = self.folder / f"{name}.csv"
        write_csv(path, rows, scored)
        return harness.run("import", *self.client, path).out.split()[0]

    def uploaded(self, key):
        self.assertRegex(key, KEY)
        return self.folder / "data" / "uploads" / key

    def test_over_http(self):
        program, random_ = self.start(), harness.seed()
        rows = list(source_rows(random_, 5000))
        uid = self.load("nab", rows)
        extra = {"email": "a@example.com", "text": 'quotes "\', CR LF \r\n, \u20ac \U0001f600', "metric": "mine",
                 "server_id": "mine", "upload": "file:/tmp/elsewhere", "deep": {"b": [1, 2.5, None], "a": True}}
        status, headers, body = harness.http_get(program, "/_logging/feedback", method="POST",
                                                 body=json.dumps({"uid": uid, **extra}))
        self.assertEqual((status, headers["Content-Type"].split(";")[0]), (200, "text/plain"), body)
        about, csv = members(self.uploaded(body.decode().strip()))
        self.assertEqual(csv, wanted_csv(uid, rows, True))
        server = (self.folder / "data" / "server_id").read_text().strip()
        self.assertRegex(server, "^[0-9a-f]{16}$")
        self.assertEqual(about.pop("server_id"), server)
        record = json.loads(about.pop("metric"))
        self.assertEqual((record["uid"], record["name"], record["last_rowid"]), (uid, "nab", len(rows)))
        self.assertEqual(about, {key: extra[key] for key in ("email", "text", "upload", "deep")})
        for path, status in (("nobody", 404), (None, 400)):
            answer = harness.http_get(program, "/_logging/feedback", method="POST", body=json.dumps({"uid": path}))
            self.assertEqual(answer[0], status)

    def test_over_the_command_line(self):
        self.start()
        rows = list(source_rows(harness.seed(), 50))
        uid = self.load("unscored", rows, scored=False)
        about, csv = members(self.uploaded(harness.run("feedback", uid, *self.client, "--extra", "note=a=b").out.strip()))
        self.assertEqual(csv, wanted_csv(uid, rows, False))
        self.assertEqual(about["note"], "a=b")
        done = harness.run("feedback", "nobody", *self.client, check=False)
        self.assertEqual((done.returncode, done.out), (1, ""))

    def test_same_request_same_bytes(self):
        program = self.start()
        uid = self.load("same", list(source_rows(harness.seed(), 500)))
        with bus.Bus(program.ready["clients"]) as client:
            def dump(**body):
                header, payload = client.call("metric.feedback", {"op": "dump", "uid": uid, "created": 1700000000,
                                                                  "extra": {"a": 1, "b": 2}, **body})
                return header["status"], self.uploaded(msgpack.unpackb(payload)["key"])
            status, path = dump()
            first = path.read_bytes()
            self.assertEqual(status, 200)
            path.unlink()
            self.assertEqual(dump(extra={"b": 2, "a": 1}), (200, path))
            self.assertEqual(path.read_bytes(), first)
            self.assertNotEqual(dump(extra={"b": 2, "a": 2})[1], path)  # in the same second
            for wrong in ({"extra": None}, {"extra": []}, {"extra": {"a": b"\xff\xfe"}}, {"created": "x"}, {"to": "x"},
                          {"extra": {1: 2}}, {"uid": ".."}):
                with self.subTest(wrong), self.assertRaises(bus.Refused) as refused:
                    dump(**wrong)
                self.assertEqual(refused.exception.status, 400)
            parts = list(client.parts("metric.feedback", {"op": "dump", "uid": uid, "created": 1, "extra": {},
                                                          "progress": True}))
            progress = [msgpack.unpackb(payload) for final, _, payload in parts if not final]
            self.assertTrue(progress and all(set(map) == {"stage", "done", "total"} for map in progress), progress)
            self.assertTrue(all(header.get("cursor") is None for final, header, _ in parts if not final))

    def test_no_rows(self):
        program = self.start()
        with bus.Bus(program.ready["clients"]) as client:
            client.call("metric.write", {"op": "create", "metric": {"uid": "bare", "datasource": "custom", "name": "bare"}})
        about, csv = members(self.uploaded(harness.run("feedback", "bare", *self.client).out.strip()))
        self.assertEqual(csv, b"")
        self.assertIsNone(json.loads(about["metric"])["last_timestamp"])

    def test_target_that_cannot_be_written(self):
        """F67, F69: 202, kept over a restart, delivered when the target is back."""
        uploads = self.folder / "data" / "uploads"
        uploads.parent.mkdir()
        uploads.write_text("in the way")
        with harness.up(self.folder / "data") as program:
            self.client = ["--connect", program.ready["clients"]]
            uid = self.load("kept", list(source_rows(harness.seed(), 20)))
            done = harness.run("feedback", uid, *self.client)
            self.assertIn("not uploaded yet", done.err)
            key = done.out.strip()
            with bus.Bus(program.ready["clients"]) as client:
                counts = msgpack.unpackb(client.call("metric.feedback", {"op": "spool"})[1])
            self.assertEqual((counts["jobs"], counts["quarantined"]), (1, 0))
            self.assertGreater(counts["bytes"], 100)
        uploads.unlink()
        with harness.up(self.folder / "data"):
            harness.wait_until(lambda: self.uploaded(key).exists(), what="the kept dump")
            members(self.uploaded(key))
            harness.wait_until(lambda: self.spooled() == ["quarantine"], what="an empty spool")

    def test_planted_things(self):
        """F67: what is no job is put aside, and the rest goes on."""
        spool = self.folder / "data" / "spool"
        torn = spool / ("0" * 32)
        torn.mkdir(parents=True)
        (torn / "manifest.json").write_text('{"version":1,')
        (spool / "file").write_text("x")
        (spool / ("1" * 32)).symlink_to("/etc")
        (spool / ".new-left").mkdir()
        program = self.start()
        uid = self.load("planted", list(source_rows(harness.seed(), 20)))
        members(self.uploaded(harness.run("feedback", uid, *self.client).out.strip()))
        harness.wait_until(lambda: self.spooled() == ["quarantine"], what="a clean spool")
        with bus.Bus(program.ready["clients"]) as client:
            self.assertEqual(msgpack.unpackb(client.call("metric.feedback", {"op": "spool"})[1])["quarantined"], 3)

    def test_store_that_vanished(self):
        """503, and 200 when it is back."""
        program = self.start()
        uid = self.load("gone", list(source_rows(harness.seed(), 20)))
        for name in ("metricmq.db",):
            shutil.move(self.folder / "data" / name, self.folder / name)
        with bus.Bus(program.ready["clients"]) as client:
            body = {"op": "dump", "uid": uid, "created": 5, "extra": {}, "timeout": 2000}
            with self.assertRaises(bus.Refused) as refused:
                client.call("metric.feedback", body)
            self.assertEqual(refused.exception.status, 503)
            shutil.move(self.folder / "metricmq.db", self.folder / "data" / "metricmq.db")
            self.assertEqual(client.call("metric.feedback", body)[0]["status"], 200)

    def spooled(self):
        return sorted(path.name for path in (self.folder / "data" / "spool").iterdir())


class Kills(harness.Case):
    """F68: kill -9 of feedback workers at random points. Accepted and lost: none; twice: none."""

    def kill(self, count, **options):
        run = kills.Kills(self.folder, harness.seed(), house.FileStore(self.folder / "uploads"), **options).run(count)
        print(f"{len(run.accepted)} accepted, {dict(run.count)}, {run.calls} calls; killed at {dict(run.steps)}", flush=True)

    def test_one_worker(self):
        self.kill(12 if harness.SLOW else 30)

    def test_workers_that_share_a_spool(self):
        self.kill(8 if harness.SLOW else 20, workers=3)


if __name__ == "__main__":
    harness.main()
