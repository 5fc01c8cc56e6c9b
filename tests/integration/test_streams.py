"""Streams read in pages while rows are appended, scored and deleted: as of the first page."""
import msgpack

import bus
import harness
import reference

ROUNDS = 8 if harness.SLOW else 40
BASE = 1500000000


class Streams(harness.Case):
    def setUp(self):
        super().setUp()
        self.random = harness.seed()
        self.program = harness.up(self.folder / "data")
        self.addCleanup(self.program.stop)
        self.reader = bus.Bus(self.program.ready["clients"])
        self.writer = bus.Bus(self.program.ready["clients"])
        self.addCleanup(self.reader.socket.close)
        self.addCleanup(self.writer.socket.close)
        self.made = 0
        self.metrics = {}
        for _ in range(6):
            self.create()

    def write(self, **body):
        return self.writer.call("metric.write", body)

    def create(self):
        self.made += 1
        record = msgpack.unpackb(self.write(op="create", metric={
            "datasource": "custom", "name": f"m{self.made}"})[1])
        self.metrics[record["uid"]] = []
        self.append(record["uid"], self.random.randrange(0, 400))
        return record["uid"]

    def append(self, uid, count):
        rows = self.metrics[uid]
        new = []
        for _ in range(count):
            time = BASE + 60 * len(rows) + 60 * len(new) + self.random.choice([0, 0, 0, -3600, -60])
            score = self.random.random() if self.random.random() < 0.8 else None
            new.append((time, round(self.random.gauss(0, 50), 3), score, score))
        if new:
            self.write(op="append", uid=uid, rows=bus.pack_rows(new))
        rows += [(len(rows) + number, *row) for number, row in enumerate(new, 1)]

    def score(self, uid):
        """Scores change: returns the rowids."""
        chosen = self.random.sample(self.metrics[uid], min(len(self.metrics[uid]), 20))
        if chosen:
            self.write(op="score", uid=uid, rows=bus.pack_rows([(row[0], 0.5, 0.5) for row in chosen]))
        for row in chosen:
            self.metrics[uid][row[0] - 1] = (*row[:3], 0.5, 0.5)
        return {(uid, row[0]) for row in chosen}

    def disturb(self, disturbed, deleted, with_deletes):
        uid = self.random.choice(sorted(self.metrics))
        action = self.random.random()
        if action < 0.6:
            self.append(uid, self.random.randrange(1, 60))
        elif action < 0.8:
            disturbed |= self.score(uid)
        elif action < 0.9 or not with_deletes:
            self.create()
        elif len(self.metrics) > 3:
            self.write(op="delete", uid=uid)
            del self.metrics[uid]
            deleted.add(uid)

    def check_as_of_first_page(self, body, query, with_deletes=True):
        before = {uid: list(rows) for uid, rows in self.metrics.items()}
        disturbed, deleted, data = set(), set(), b""
        for header, payload in self.reader.pages({**body, "max_bytes": 1024}):
            data += payload
            self.disturb(disturbed, deleted, with_deletes)
        wanted = reference.select(before, **query)
        steady = lambda row: row[0] not in deleted and (row[0], row[4]) not in disturbed
        rows = bus.rows_of(data)
        self.assertEqual(len(rows), len({(row[0], row[4]) for row in rows}), "a row came twice")
        self.assertEqual([row for row in rows if steady(row)], [row for row in wanted if steady(row)], body)
        known = {(uid, row[0]) for uid in before for row in before[uid]}
        self.assertLessEqual({(row[0], row[4]) for row in rows}, known, "a row of after the first page came")

    def bodies(self):
        for _ in range(ROUNDS):
            query = {"anomaly": self.random.choice([-1, -1, 0, 0.5])}
            if self.random.random() < 0.4:
                query["uid"] = self.random.choice(sorted(self.metrics))
            if self.random.random() < 0.5:
                query["begin"] = BASE + self.random.randrange(-7200, 20000)
            if self.random.random() < 0.3:
                query["end"] = BASE + self.random.randrange(10000, 40000)
            if self.random.random() < 0.5:
                query["order"] = "metric"
            yield query

    @staticmethod
    def body_of(query):
        renamed = {"from" if key == "begin" else "to" if key == "end" else key: value
                   for key, value in query.items()}
        return {"op": "data", **renamed}

    def test_without_limit(self):
        for query in self.bodies():
            with self.subTest(query=query):
                self.check_as_of_first_page(self.body_of(query), query)

    def test_with_limit(self):
        # All rows are asked for: a score that changes then changes no count.
        for query in self.bodies():
            query.update(limit=self.random.choice([1, 5, 50, 150, 1000]), anomaly=-1)
            with self.subTest(query=query):
                self.check_as_of_first_page(self.body_of(query), query)

    def test_deleted_and_made_again_is_another_metric(self):
        uid = self.create()
        self.append(uid, 500)
        body = {"op": "data", "uid": uid, "from": 0, "anomaly": -1, "max_bytes": 1024}
        pages = self.reader.pages(body)
        header, _ = next(pages)
        self.write(op="delete", uid=uid)
        again = msgpack.unpackb(self.write(op="create", metric={
            "datasource": "custom", "name": "again", "uid": uid})[1])
        self.assertEqual(again["last_rowid"], 0)
        self.write(op="append", uid=uid, rows=bus.pack_rows([(BASE * 2, 1.0, None, None)] * 900))
        left = b"".join(payload for _, payload in pages)
        self.assertNotIn(BASE * 2, [row[1] for row in bus.unpack_all(left)])

    def test_no_news(self):
        uid = self.create()
        header, _ = self.reader.call("metric.query", {"op": "data", "uid": uid})
        again, payload = self.reader.call("metric.query", {"op": "data", "uid": uid, "unless": header["state"]})
        self.assertEqual((again["status"], payload), (304, b""))
        self.append(uid, 1)
        news, _ = self.reader.call("metric.query", {"op": "data", "uid": uid, "unless": header["state"]})
        self.assertEqual(news["status"], 200)

    def test_cursors_are_bound_to_their_arguments(self):
        uid = self.create()
        self.append(uid, 500)
        body = {"op": "data", "uid": uid, "from": 0, "anomaly": -1, "max_bytes": 1024}
        cursor = next(self.reader.pages(body))[0]["next"]
        for change in ({"from": 1}, {"limit": 3}, {"anomaly": 0}, {"order": "metric"}, {"uid": "other"}):
            with self.assertRaises(bus.Refused) as refused:
                self.reader.call("metric.query", {**body, **change, "cursor": cursor})
            self.assertEqual(refused.exception.status, 400, change)
        for broken in ("", "x", cursor[:-1], cursor + "A", cursor.swapcase(), "A" * 5000):
            with self.assertRaises(bus.Refused) as refused:
                self.reader.call("metric.query", {**body, "cursor": broken})
            self.assertEqual(refused.exception.status, 400, broken)

    def test_uid_of_32_bytes_is_raw16(self):
        uid = self.create()
        self.assertEqual(len(uid), 32)
        self.append(uid, 3)
        data = self.reader.stream({"op": "data", "uid": uid, "anomaly": -1})
        rows = data.count(uid.encode())
        self.assertGreater(rows, 0)
        self.assertEqual(data.count(b"\x95\xda\x00\x20" + uid.encode()), rows)


if __name__ == "__main__":
    harness.main()
