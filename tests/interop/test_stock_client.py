"""A client that knows only RFC 18 and msgpack drives the real program: queries, pages, resuming, mmi."""
import bus
import harness


class StockClient(harness.Case):
    def setUp(self):
        super().setUp()
        self.program = harness.up(self.folder / "data")
        self.addCleanup(self.program.stop)
        self.client = self.connect()
        harness.run("demo", "--connect", self.program.ready["clients"], "--metrics", 3, "--rows", 12_000)
        self.models = bus.unpack_all(self.client.stream({"op": "models"}))
        self.uids = [model["uid"] for model in self.models]

    def connect(self):
        client = bus.Bus(self.program.ready["clients"])
        self.addCleanup(client.socket.close)
        return client

    def test_records(self):
        self.assertEqual(self.uids, sorted(self.uids))
        header, payload = self.client.call("metric.query", {"op": "model", "uid": self.uids[1]})
        self.assertEqual((header["status"], bus.unpack_all(payload)), (200, [self.models[1]]))
        self.assertEqual(self.models[1]["last_rowid"], 12_000)
        self.assertEqual(bus.unpack_all(self.client.call("metric.query", {"op": "stats"})[1]),
                         [{"processing_time_remaining": 1}])  # 3 unscored rows of 3 metrics, 0.05 s each

    def test_pages_join_to_the_stream(self):
        body = {"op": "data", "uid": self.uids[0], "from": 0, "anomaly": -1}
        whole = self.client.stream({**body, "max_bytes": 16 << 20})
        self.assertEqual([row[4] for row in bus.rows_of(whole)], list(range(1, 12_001)))
        for max_bytes in (1, 5000, 100_000):
            pages = list(self.client.pages({**body, "max_bytes": max_bytes}))
            self.assertGreater(len(pages), 5)
            self.assertEqual(b"".join(payload for _, payload in pages), whole)
            self.assertEqual(sum(header["rows"] for header, _ in pages), 12_000)

    def in_parts(self, body):
        """A page's frames; None: it came in too few, since its time was over before."""
        parts = list(self.client.parts("metric.query", body))
        return parts if len(parts) > 2 else None

    def test_resume_from_every_partial_on_another_connection(self):
        for body in ({"op": "data", "uid": self.uids[2], "from": 0, "anomaly": -1},
                     {"op": "data", "anomaly": -1}, {"op": "data", "order": "metric", "limit": 9_000}):
            parts = harness.wait_until(lambda: self.in_parts(body), what="an answer in PARTIALs")
            whole, start = self.client.stream(body), 0
            for final, header, payload in parts:
                self.assertLessEqual(len(payload), 256 * 1024)
                start += len(payload)
                cursor = header["next"] if final else header["cursor"]
                rest = self.connect().stream({**body, "cursor": cursor}) if cursor else b""
                self.assertEqual(whole[start:], rest)

    def test_mmi(self):
        for service in (b"metric.query", b"metric.write", b"metric.feedback"):
            self.assertEqual(self.client.mmi("mmi.service", service), [b"200"])
        self.assertEqual(self.client.mmi("mmi.service", b"metric.nothing"), [b"404"])
        self.assertEqual(self.client.mmi("mmi.frobnicate"), [b"501"])
        status, stats = self.client.mmi("mmi.stats")
        self.assertEqual(status, b"200")
        services = bus.unpack_all(stats)[0]["services"]
        self.assertEqual(services["metric.query"]["workers"], 1)
        self.assertGreaterEqual(services["metric.query"]["requests"], 1)

    def test_many_requests_at_once_are_told_apart_by_id(self):
        """F23."""
        ids = {self.client.send("metric.query", {"op": "data", "uid": self.uids[number % 3], "limit": 1 + number % 7},
                                id=f"request-{number}"): number for number in range(1000)}
        answers = {}
        while len(answers) < len(ids):
            final, header, payload = self.client.receive()
            self.assertTrue(final)
            answers[header["id"]] = bus.rows_of(payload)
        for id, number in ids.items():
            self.assertEqual(len(answers[id]), 1 + number % 7)
            self.assertEqual({row[0] for row in answers[id]}, {self.uids[number % 3]})


if __name__ == "__main__":
    harness.main()
