"""Import of real metric files, then random queries in every form against the reference."""
import urllib.parse

import bus
import harness
import reference

QUERIES = 60 if harness.SLOW or harness.POSTGRES else 250
PAGES = [1, 1024, 5000, 65536, 1 << 20, 16 << 20]


def sample_files(folder, random):
    """Stand-ins where the NAB files are not there: repeated times, steps back, unscored rows."""
    paths = []
    for number in range(5):
        path = folder / f"sample_{number}.csv"
        now = 1400000000
        lines = ["timestamp,value,anomaly_score,raw_score,label"]
        for _ in range(3000):
            now += random.choice([300, 300, 300, 300, 0, -600, 3600])
            scored = random.random() < 0.9
            lines.append(f"{reference.time_text(now)},{random.gauss(50, 9)!r},"
                         + (f"{random.random()!r},{random.random()!r},0" if scored else ",,0"))
        path.write_text("\n".join(lines) + "\n")
        paths.append(path)
    return paths


class Queries(harness.Case):
    @classmethod
    def setUpClass(cls):
        cls.random = harness.seed()

    def setUp(self):
        super().setUp()
        self.files = sorted(harness.NAB.glob("*/*.csv")) or sample_files(self.folder, self.random)
        self.program = harness.up(self.folder / "data")
        self.addCleanup(self.program.stop)
        self.connect = ["--connect", self.program.ready["clients"]]

    def import_all(self):
        done = harness.run("import", *self.connect, *self.files)
        lines = [line.split("\t") for line in done.out.splitlines()]
        self.assertEqual(len(lines), len(self.files))
        metrics = {}
        for (uid, name, rows), path in zip(lines, self.files):
            metrics[uid] = reference.read_csv(path)
            self.assertEqual(name, path.stem)
            self.assertEqual(int(rows), len(metrics[uid]), name)
        return metrics

    def random_query(self, metrics):
        pick, times = self.random, [t for rows in metrics.values() for _, t, *_ in rows[::97]]
        query = {}
        if pick.random() < 0.85:
            query["uid"] = pick.choice(sorted(metrics))
            times = [t for _, t, *_ in metrics[query["uid"]]]
        if pick.random() < 0.5:
            query["begin"] = pick.choice(times) + pick.choice([0, 0, -1, 1, -86400])
        if pick.random() < 0.5:
            query["end"] = pick.choice(times) + pick.choice([0, 0, -1, 1, 86400])
        if pick.random() < 0.6:
            query["anomaly"] = pick.choice([0, -1, -0.5, 0.5, 0.9, 0.99, pick.random(), 2])
        if pick.random() < 0.5 or "uid" not in query:
            query["limit"] = pick.choice([1, 2, 10, 100, 1000, 100000])
        return query

    def check_http(self, query, metrics):
        arguments = {"from": query.get("begin"), "to": query.get("end"),
                     "anomaly": query.get("anomaly"), "limit": query.get("limit")}
        for key in ("from", "to"):
            if arguments[key] is not None and self.random.random() < 0.5:
                arguments[key] = reference.time_text(arguments[key])
        text = urllib.parse.urlencode({key: value for key, value in arguments.items() if value is not None})
        path = f"/_models/{query['uid']}/data" if "uid" in query else "/_models/data"
        path += "?" + text if text else ""
        status, headers, raw = harness.http_get(self.program, path, {"Accept": "application/octet-stream"})
        self.assertEqual((status, headers["Content-Type"]), (200, "application/octet-stream"), path)
        self.assertEqual(bus.rows_of(raw), reference.select(metrics, **query), path)
        status, headers, body = harness.http_get(self.program, path)
        self.assertEqual((status, headers["Content-Type"]), (200, "application/json; charset=UTF-8"), path)
        wanted = reference.json_metric(reference.select(metrics, **query)) if "uid" in query else \
            reference.json_metrics(reference.select(metrics, order="metric", **query))
        self.assertEqual(body.decode(), wanted, path)
        return raw

    def check_bus(self, query, metrics, raw):
        body = {"op": "data", "from": query.get("begin"), "to": query.get("end"),
                **{key: query[key] for key in ("uid", "anomaly", "limit") if key in query}}
        body = {key: value for key, value in body.items() if value is not None}
        body["max_bytes"] = self.random.choice(PAGES if "uid" in query else PAGES[2:])
        with bus.Bus(self.program.ready["clients"]) as client:
            self.assertEqual(client.stream(body), raw, body)
            body["order"] = "metric"
            body["rowid"] = self.random.randrange(1, 2000)
            self.assertEqual(bus.rows_of(client.stream(body)),
                             reference.select(metrics, order="metric", rowid=body["rowid"], **query), body)

    def test_every_form_equals_the_reference(self):
        metrics = self.import_all()
        for _ in range(QUERIES):
            query = self.random_query(metrics)
            with self.subTest(query=query):
                self.check_bus(query, metrics, self.check_http(query, metrics))

    def test_all_rows(self):
        metrics = self.import_all()
        self.check_bus({}, metrics, self.check_http({}, metrics))
        self.check_bus({"begin": 0, "anomaly": -1}, metrics, self.check_http({"begin": 0, "anomaly": -1}, metrics))

    def test_import_again_adds_nothing_and_conflicts_are_named(self):
        metrics = self.import_all()
        harness.run("import", *self.connect, *self.files[:3])
        with bus.Bus(self.program.ready["clients"]) as client:
            raw = client.stream({"op": "data", "order": "metric", "from": 0, "anomaly": -1})
        self.assertEqual(bus.rows_of(raw), reference.select(metrics, begin=0, anomaly=-1, order="metric"))
        lines = self.files[0].read_text().splitlines()
        cells = lines[7].split(",")
        cells[1] = "123456.5"
        other = self.folder / "other.csv"
        other.write_text("\n".join([*lines[:7], ",".join(cells), *lines[8:], *lines[1:3]]))
        done = harness.run("import", *self.connect, "--name", self.files[0].stem, other, check=False)
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.err, r"other\.csv.*\b7\b")  # rowid 7 stands on line 8
        with bus.Bus(self.program.ready["clients"]) as client:
            self.assertEqual(client.stream({"op": "data", "order": "metric", "from": 0, "anomaly": -1}), raw)

    def test_files_that_cannot_be_read(self):
        good = "timestamp,value\n2014-01-01 00:00:00,1\n"
        cases = {"missing.csv": None, "empty.csv": "", "column.csv": "timestamp,label\n2014-01-01 00:00:00,1\n",
                 "number.csv": good + "2014-01-01 00:05:00,abc\n", "time.csv": good + "2014-13-01 00:05:00,1\n",
                 "short.csv": good + "2014-01-01 00:05:00\n", "nan.csv": good + "2014-01-01 00:05:00,nan\n",
                 "huge.csv": good + "2014-01-01 00:05:00,1e999\n", "quote.csv": good + '2014-01-01 00:05:00,"1\n'}
        for name, text in cases.items():
            with self.subTest(name):
                if text is not None:
                    (self.folder / name).write_text(text)
                done = harness.run("import", *self.connect, self.folder / name, check=False)
                self.assertEqual(done.returncode, 1, done.err)
                self.assertIn(name, done.err)
                if text and text.startswith(good):
                    self.assertIn("line 3", done.err)
        done = harness.run("import", *self.connect, "--name", "zero", "/dev/zero", check=False, timeout=20)
        self.assertEqual((done.returncode, "device" in done.err), (1, True), done.err)
        _, _, body = harness.http_get(self.program, "/_models")
        self.assertEqual(body, b"[]")


if __name__ == "__main__":
    harness.main()
