"""Old rows go: by command and by --retain, while others read and write; what streams and dumps then say."""
import csv
import errno
import io
import tarfile
import time

import msgpack

import bus
import harness
import house

BASE = 1700000000
ROWS = 4000  # of each metric, a minute apart
UIDS = ("one", "two", "wide")


def time_of(rowid):
    return BASE + 60 * (rowid - 1)


class Pruning(harness.Case):
    def setUp(self):
        super().setUp()
        self.data = self.folder / "data"

    def fill(self, client, uids=UIDS, rows=ROWS):
        for uid in uids:
            house.create_metric(client, uid)
            client.call("metric.write", {"op": "append", "uid": uid, "first_rowid": 1, "rows": bus.pack_rows(
                [(time_of(n), float(n), 0.5 if n % 2 else None, None) for n in range(1, rows + 1)])})

    def rowids(self, client, uid):
        return [row[4] for row in bus.rows_of(client.stream({"op": "data", "uid": uid, "from": 0, "anomaly": -1}))]

    def prune(self, program, *args, status=0):
        done = harness.run("prune", "--connect", program.ready["clients"], *args, check=False)
        self.assertEqual(done.returncode, status, (done.out, done.err))
        return done

    def check(self):
        self.assertRegex(harness.run("check", "--data", self.data).out, "^whole: ")

    def test_command(self):
        with harness.up(self.data) as program, bus.Bus(program.ready["clients"]) as client:
            self.fill(client)
            before = ["--before", time_of(1001)]
            self.assertRegex(self.prune(program, *before, "--dry-run").out, r"^would prune 3000 rows from before 2023")
            self.assertEqual(len(self.rowids(client, "one")), ROWS)
            self.assertRegex(self.prune(program, "one", *before).out, r"^pruned 1000 rows .* in 1 metrics\n$")
            self.assertEqual(self.rowids(client, "one"), list(range(1001, ROWS + 1)))
            self.assertEqual(len(self.rowids(client, "two")), ROWS)
            self.assertRegex(self.prune(program, *before).out, r"^pruned 2000 rows .* in 3 metrics\n$")
            self.assertEqual(self.rowids(client, "two"), list(range(1001, ROWS + 1)))
            self.assertIn("there is no metric none", self.prune(program, "none", *before, status=1).err)
            self.check()
            # rowids, and what hangs on them
            record = msgpack.unpackb(client.call("metric.query", {"op": "model", "uid": "one"})[1])
            self.assertEqual(record["last_rowid"], ROWS)
            for rowid, count in ((1000, 0), (1001, 1)):
                rows = bus.rows_of(client.stream({"op": "data", "uid": "one", "anomaly": -1, "rowid": rowid}))
                self.assertEqual(len(rows), count)
            with self.assertRaises(bus.Refused) as refused:
                client.call("metric.write", {"op": "score", "uid": "one", "rows": msgpack.packb([7, 0.5, 0.5])})
            self.assertEqual(refused.exception.status, 404)
            self.fill(client, ["one"])  # a resend is harmless still
            self.assertEqual(len(self.rowids(client, "one")), ROWS - 1000)
            rest = bus.pack_rows([(time_of(5), 1.0, None, None)])
            _, answer = client.call("metric.write", {"op": "append", "uid": "one", "rows": rest})
            self.assertEqual(msgpack.unpackb(answer)["first_rowid"], ROWS + 1)  # late rows are rows like others
            self.assertEqual(self.rowids(client, "one")[0], ROWS + 1)
        for wrong in (["prune"], ["prune", "--before", "soon"], ["prune", "a", "b", "--before", "0"]):
            self.assertEqual(harness.run(*wrong, check=False).returncode, 2, wrong)

    def test_streams_that_began_before(self):
        """A stream that had pruned rows still to show ends with 410, and never as if it were whole."""
        with harness.up(self.data) as program, bus.Bus(program.ready["clients"]) as client:
            self.fill(client)
            bodies = {
                "old ascending": ({"op": "data", "uid": "one", "from": time_of(1)}, 410),
                "old descending": ({"op": "data", "uid": "one"}, 410),
                "new ascending": ({"op": "data", "uid": "one", "from": time_of(1500)}, 200),
                "all ascending": ({"op": "data", "from": time_of(1)}, 410),
                "all new": ({"op": "data", "from": time_of(1500)}, 200),
                "all by metric": ({"op": "data", "from": time_of(1), "order": "metric"}, 410),
                "all, a few": ({"op": "data", "from": time_of(1), "limit": 500}, 410),
                "export": ({"op": "export"}, 410),
                "export of one": ({"op": "export", "uid": "one"}, 410),
                "models": ({"op": "models"}, 200),
                "summary": ({"op": "summary"}, 410),
                "summary of one": ({"op": "summary", "uid": "one"}, 410),
                "summary of new": ({"op": "summary", "uid": "one", "from": time_of(1500)}, 200),
            }
            cursors = {}
            for name, (body, _) in bodies.items():
                body.update({"anomaly": -1} if body["op"] == "data" else {})
                body.update({"max_bytes": 1024})
                cursors[name] = client.call("metric.query", body)[0]["next"]
            self.prune(program, "--before", time_of(1201))
            for name, (body, status) in bodies.items():
                if cursors[name] is None:
                    continue
                with self.subTest(name):
                    try:
                        client.call("metric.query", {**body, "cursor": cursors[name]})
                        got = 200
                    except bus.Refused as refused:
                        got = refused.status
                        self.assertIn("pruned meanwhile", refused.error)
                    self.assertEqual(got, status)

    def test_dumps_and_exports(self):
        with harness.up(self.data) as program, bus.Bus(program.ready["clients"]) as client:
            self.fill(client)
            self.prune(program, "one", "--before", time_of(1501))
            self.prune(program, "two", "--before", "2100-01-01")
            rows = {}
            for uid in ("one", "two"):
                _, answer = client.call("metric.feedback", {"op": "dump", "uid": uid, "extra": {}, "created": BASE})
                path = self.data / "uploads" / msgpack.unpackb(answer)["key"]
                with tarfile.open(path) as archive:
                    rows[uid] = archive.extractfile("metric_data.csv").read().decode()
            self.assertEqual([int(row["rowid"]) for row in csv.DictReader(io.StringIO(rows["one"]))],
                             list(range(1501, ROWS + 1)))
            self.assertEqual(rows["two"], "")  # as for a metric without rows
            exported = {}
            for uid in ("one", "two"):
                values = msgpack.Unpacker(io.BytesIO(b"".join(payload for _, payload in client.pages(
                    {"op": "export", "uid": uid}))), strict_map_key=False)
                exported[uid] = [value for value in values if isinstance(value, list)]
            self.assertEqual([row[0] for row in exported["one"]], [time_of(n) for n in range(1501, ROWS + 1)])
            self.assertEqual(exported["two"], [])

    @harness.sqlite_only("it is killed at writes to the file")
    def test_killed_while_it_prunes(self):
        """kill -9 of `up` at any write of a prune: the store is whole, and the same command goes on."""
        random, rows, left = harness.seed(), 20000, []
        with harness.up(self.data) as program:
            harness.run("demo", "--connect", program.ready["clients"], "--metrics", 20, "--rows", rows)
        for number in range(3):
            begun = self.folder / f"begun-{number}"
            program = harness.up(self.data, env=house.preload(KILL_AT=random.randrange(1, 200), KILL_AT_CALLS="pwrite",
                                                              KILL_AT_PATH="metricmq.db", KILL_AT_WHEN=begun))
            begun.touch()
            harness.run("prune", "--connect", program.ready["clients"], "--before", "2100-01-01", "--fast", "--timeout", "300ms",
                        check=False)
            program.kill()
            out = harness.run("check", "--data", self.data).out
            self.assertRegex(out, "^whole: 20 metrics")
            left.append(int(out.split(" rows")[0].split()[-1]))
        self.assertEqual(left, sorted(left, reverse=True))
        self.assertGreater(left[0], 0)
        with harness.up(self.data) as program:
            self.prune(program, "--before", "2100-01-01", "--fast")
        self.assertRegex(harness.run("check", "--data", self.data).out, "^whole: 20 metrics, 0 blocks, 0 rows")
        print(f"rows left after each kill: {left}, of {20 * rows}")

    @harness.sqlite_only("it is the file's disk that is full")
    def test_no_space(self):
        """On a full disk a prune ends with a sentence, readers go on, and nothing is half gone."""
        full = self.folder / "full"
        env = house.preload(KILL_AT=1, KILL_AT_DO=errno.ENOSPC, KILL_AT_ON=1, KILL_AT_CALLS="pwrite",
                            KILL_AT_PATH="metricmq.db", KILL_AT_WHEN=full)
        with harness.up(self.data, env=env) as program, bus.Bus(program.ready["clients"]) as client:
            self.fill(client, ["one"])
            full.touch()
            self.assertRegex(self.prune(program, "--before", time_of(3001), "--timeout", "1s", status=1).err, "space|full")
            self.assertEqual(self.rowids(client, "one"), list(range(1, ROWS + 1)))
            full.unlink()
            self.assertRegex(self.prune(program, "--before", time_of(3001), "--fast").out, "^pruned 3000 rows")
            self.assertEqual(self.rowids(client, "one"), list(range(3001, ROWS + 1)))
        self.check()

    def test_retain(self):
        """--retain lets old rows go by itself."""
        now = int(time.time())
        with harness.up(self.data) as program, bus.Bus(program.ready["clients"]) as client:
            self.fill(client, rows=20000)  # of 2023
            for uid in UIDS:
                client.call("metric.write", {"op": "append", "uid": uid, "rows": bus.pack_rows(
                    [(now, 1.0, 0.5, None)])})
        with harness.up(self.data, "--retain", "30") as program, bus.Bus(program.ready["clients"]) as client:
            harness.wait_until(lambda: all(self.rowids(client, uid) == [20001] for uid in UIDS), what="the old rows' end")
            harness.wait_until(lambda: "were pruned" in program.errors(), what="the log's line")
        self.check()
        self.assertEqual(harness.run("up", "--retain", "-1", check=False).returncode, 2)


if __name__ == "__main__":
    harness.main()
