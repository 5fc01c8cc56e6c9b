"""Rows in buckets of time, over the bus and over HTTP in every form, against what is computed from the rows."""
import csv
import gzip
import io
import json
import math
import urllib.parse

import msgpack

import bus
import harness
import house
import reference

START = 1400000000
NAMES = ["timestamp", "rows", "least", "greatest", "first", "last", "mean", "anomaly_score", "unscored"]
QUERIES = 25 if harness.SLOW else 80


def buckets_of(rows, count, begin=None, end=None):
    """[(start, rows, least, greatest, first, last, mean, score, unscored)] of rows (timestamp, value, score) by rowid."""
    rows = sorted(((time, rowid, value, score) for rowid, (time, value, score) in enumerate(rows)), key=lambda row: row[:2])
    if not rows:
        return []
    begin = rows[0][0] if begin is None else begin
    end = rows[-1][0] if end is None else end
    width = -(-(end - begin + 1) // count)
    groups = {}
    for time, _, value, score in rows:
        if begin <= time <= end:
            groups.setdefault(begin + (time - begin) // width * width, []).append((value, score))
    made = []
    for start, group in groups.items():
        values, scores = [value for value, _ in group], [score for _, score in group if score is not None]
        made.append((start, len(group), min(values), max(values), values[0], values[-1], math.fsum(values) / len(values),
                     max(scores, default=None), len(group) - len(scores)))
    return made


class Summary(harness.Case):
    @classmethod
    def setUpClass(cls):
        cls.random = harness.seed()

    def setUp(self):
        super().setUp()
        self.program = harness.up(self.folder / "data")
        self.addCleanup(self.program.stop)
        self.client = bus.Bus(self.program.ready["clients"])
        self.addCleanup(self.client.__exit__)

    def fill(self):
        self.metrics = {}
        for uid, count in (("long", 20000), ("short", 90), ("one", 1), ("empty", 0)):
            house.create_metric(self.client, uid)
            now, rows = START, []
            for _ in range(count):
                now += self.random.choice([300, 300, 300, 300, 0, -900, 7200])
                rows.append((now, self.random.gauss(50, 9), self.random.random() if self.random.random() < 0.8 else None))
            for at in range(0, len(rows), 7000):
                self.append(uid, rows[at:at + 7000])
            self.metrics[uid] = rows

    def append(self, uid, rows):
        self.client.call("metric.write", {"op": "append", "uid": uid, "rows": bus.pack_rows(
            [(time, value, score, None) for time, value, score in rows])})

    def get(self, path, **headers):
        status, got, body = harness.http_get(self.program, path, {name.replace("_", "-"): value for name, value in headers.items()})
        return status, got, body

    def expected(self, query):
        """[(uid, *bucket)]"""
        metrics = {query["uid"]: self.metrics.get(query["uid"], [])} if "uid" in query else self.metrics
        times = [row[0] for rows in metrics.values() for row in rows]
        begin = query.get("from", min(times, default=0))
        end = query.get("to", max(times, default=0))
        return [(uid, *made) for uid, rows in sorted(metrics.items())
                for made in buckets_of(rows, query.get("buckets", 400), begin, end)]

    def assert_buckets(self, got, expected, query):
        got, expected = list(map(tuple, got)), list(map(tuple, expected))
        self.assertEqual(len(got), len(expected), query)
        for one, other in zip(got, expected):
            self.assertEqual(one[:7], other[:7], query)
            self.assertLessEqual(abs(one[7] - other[7]), 2**-50 * max(abs(other[3]), abs(other[4])), query)
            self.assertEqual(one[8:], other[8:], query)

    def random_query(self):
        pick, query = self.random, {}
        if pick.random() < 0.6:
            query["uid"] = pick.choice(["long", "long", "short", "one", "empty", "unknown"])
        end = max(time for time, *_ in self.metrics["long"])
        for key in ("from", "to"):
            if pick.random() < 0.5:
                query[key] = pick.randrange(START - 1000, end + 1000)
        query["buckets"] = pick.choice([1, 2, 10, 77, 400] + ([800, 10000] if "uid" in query else []))
        return query

    def test_every_form_says_what_the_rows_say(self):
        self.fill()
        for _ in range(QUERIES):
            query = self.random_query()
            expected = self.expected(query)
            size = self.random.choice([1024, 5000, 1 << 20])
            names, *rows = bus.unpack_all(self.client.stream({"op": "summary", "max_bytes": size, **query}))
            self.assertEqual(names, ["names", "uid", *NAMES])
            self.assert_buckets(rows, expected, query)
            self.check_http(query, expected)

    def check_http(self, query, expected):
        arguments = urllib.parse.urlencode({key: value for key, value in query.items() if key != "uid"})
        path = (f"/_models/{query['uid']}" if "uid" in query else "/_models") + "/summary?" + arguments
        status, headers, body = self.get(path, Accept="application/octet-stream")
        self.assertEqual((status, headers["Content-Type"]), (200, "application/octet-stream"), path)
        self.assert_buckets(bus.unpack_all(body)[1:], expected, path)
        status, headers, body = self.get(path, Accept_Encoding="gzip")
        self.assertEqual((status, headers["Content-Type"]), (200, "application/json; charset=UTF-8"), path)
        answer = json.loads(gzip.decompress(body) if headers.get("Content-Encoding") == "gzip" else body)
        self.assertEqual(answer["names"], NAMES)
        rows = [(query["uid"], *row) for row in answer["data"]] if "uid" in query else \
            [(metric["uid"], *row) for metric in answer["metrics"] for row in metric["data"]]
        shown = [(uid, reference.time_text(start), *more) for uid, start, *more in expected]
        self.assert_buckets(rows, shown, path)
        _, _, body = self.get(path, Accept="text/csv")
        names, *lines = csv.reader(io.StringIO(body.decode(), newline=""))
        self.assertEqual(names, ["uid", *NAMES])
        self.assert_buckets([(uid, time, int(rows), *map(float, numbers), float(score) if score else None, int(unscored))
                             for uid, time, rows, *numbers, score, unscored in lines], shown, path)
        _, _, body = self.get(path, Accept="application/x-ndjson")
        self.assert_buckets([json.loads(line).values() for line in body.decode().splitlines()], shown, path)

    def test_polling(self):
        self.fill()
        for path, changes in (("/_models/short/summary?buckets=5", False), ("/_models/summary?buckets=5", True)):
            _, headers, body = self.get(path)
            again = {"If_None_Match": headers["ETag"]}
            self.assertEqual(self.get(path, **again)[::2], (304, b""))
            head = harness.http_get(self.program, path, method="HEAD")
            self.assertEqual((head[0], head[1]["ETag"], head[2]), (200, headers["ETag"], b""))
            self.append("one", [(START + 5, 1.5, None)])
            status, _, now = self.get(path, **again)
            self.assertEqual((status, now != body), (200, True) if changes else (304, True))

    def test_arguments(self):
        for path, says in (("/_models/a/summary?buckets=0", "buckets"), ("/_models/a/summary?buckets=10001", "buckets"),
                           ("/_models/summary?buckets=401", "buckets"), ("/_models/a/summary?buckets=x", "buckets must be a whole"),
                           ("/_models/a/summary?from=x", "from must be"), ("/_models/summary/summary", "uid must be")):
            status, _, body = self.get(path)
            self.assertEqual(status, 400, path)
            self.assertIn(says, json.loads(body)["result"])
        self.assertEqual(json.loads(self.get("/_models/a/summary")[2]), {"data": [], "names": NAMES})
        self.assertEqual(json.loads(self.get("/_models/summary?buckets=&limit=x")[2]), {"metrics": [], "names": NAMES})
        for body in ({"uid": "a", "buckets": 1.5}, {"uid": "a", "anomaly": 1}, {"cursor": "x"}, {"uid": "summary"}):
            with self.assertRaises(bus.Refused) as refused:
                self.client.call("metric.query", {"op": "summary", **body})
            self.assertEqual(refused.exception.status, 400)

    def test_a_bucket_over_pages_that_come_between_appends(self):
        """Rows that come after the first page are not in the stream."""
        self.fill()
        expected = self.expected({"uid": "long", "buckets": 300})
        rows, cursor = [], None
        while cursor is not None or not rows:
            header, payload = self.client.call("metric.query", {"op": "summary", "uid": "long", "buckets": 300, "max_bytes": 2000,
                                                                **({"cursor": cursor} if cursor else {})})
            rows += msgpack.Unpacker(io.BytesIO(payload))
            cursor = header["next"]
            self.append("long", [(START + self.random.randrange(10**6), 1e9, 1.0) for _ in range(20)])
        self.assert_buckets(rows[1:], expected, "long")


if __name__ == "__main__":
    harness.main()
