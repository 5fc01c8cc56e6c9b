"""The HTTP adapter against a scripted bus: what it asks, and what it makes of slow, broken and strange answers."""
import json
import socket
import struct
import subprocess

import harness
from fake_bus import NAMES, FakeBus, pack, rows


class Scripted(harness.Case):
    def setUp(self):
        super().setUp()
        self.bus = FakeBus()
        self.addCleanup(self.bus.stop)
        self.start()

    def start(self, *args):
        self.program = harness.Program("http", "--connect", self.bus.endpoint, "--http", "127.0.0.1:0",
                                       "--timeout", "3s", "--idle-timeout", "3s", "--drain-timeout", "1s", *args)
        self.addCleanup(self.program.stop)

    def address(self):
        host, port = self.program.ready["http"].removeprefix("http://").rsplit(":", 1)
        return host, int(port)

    def get(self, path, **options):
        return harness.http_get(self.program, path, **options)

    def asked(self):
        """How often the bus was asked for rows; all that was sent before is in it."""
        self.bus.mmi_status = b"200"
        before = self.bus.mmi_count

        def asked_anew():
            self.assertEqual(self.get("/health/ready")[0], 200)
            return self.bus.mmi_count >= before + 3
        harness.wait_until(asked_anew, what="a new set of questions")
        return len(self.bus.seen)

    def connect(self):
        peer = socket.create_connection(self.address(), timeout=30)
        self.addCleanup(peer.close)
        return peer


class Answers(Scripted):
    def one_page(self, payload):
        self.bus.answer = lambda bus, peer, service, request: bus.final(peer, service, request, payload=payload)

    def test_json_of_one_metric(self):
        self.one_page(pack(NAMES) + pack(["u", 1376602440, 222.0, 0.025, 125]) + pack(["u", 1376602441, 1e16, None, 126]))
        status, headers, body = self.get("/_models/u/data?from=2013-08-15&to=2013-08-15T22:00:00Z&anomaly=-1&limit=5")
        self.assertEqual((status, headers["Content-Type"]), (200, "application/json; charset=UTF-8"))
        self.assertTrue(headers["Server"].startswith("metricmq "))
        self.assertEqual(body, b'{"data": [["2013-08-15 21:34:00", 222, 0.025, 125], '
                               b'["2013-08-15 21:34:01", 1e+16, null, 126]], '
                               b'"names": ["timestamp","value","anomaly_score","rowid"]}')
        service, request = self.bus.seen[0]
        self.assertEqual(service, "metric.query")
        wanted = {"op": "data", "uid": "u", "from": 1376524800, "to": 1376604000, "anomaly": -1.0, "limit": 5,
                  "order": "time"}
        self.assertEqual({key: request.get(key) for key in wanted}, wanted)
        self.assertTrue(request["trace"])

    def test_json_of_all_metrics(self):
        self.one_page(pack(NAMES) + rows("a", 1, 2) + rows("b", 1, 1))
        body = json.loads(self.get("/_models/data/")[2])
        self.assertEqual([(one["uid"], len(one["data"])) for one in body["metrics"]], [("a", 2), ("b", 1)])
        self.assertEqual(body["names"], ["timestamp", "value", "anomaly_score", "rowid"])
        self.assertEqual(self.bus.seen[0][1]["order"], "metric")
        self.assertNotIn("uid", self.bus.seen[0][1])

    def test_stream_is_byte_for_byte(self):
        first, second = pack(NAMES) + rows("a", 1, 5000), rows("a", 5001, 5000)

        def answer(bus, peer, service, request):
            if "cursor" not in request:
                bus.partial(peer, service, request, 0, first, "c0")
                bus.final(peer, service, request, next="c1", seq=1)
            else:
                bus.final(peer, service, request, payload=second)
        self.bus.answer = answer
        for accept in ("application/octet-stream", "text/html, Application/Octet-Stream;q=0.5"):
            status, headers, body = self.get("/_models/data", headers={"Accept": accept})
            self.assertEqual((status, headers["Content-Type"], headers["X-Accel-Buffering"]),
                             (200, "application/octet-stream", "no"))
            self.assertEqual(body, first + second)
        self.assertEqual(self.bus.seen[0][1]["order"], "time")

    def test_errors_before_the_first_byte(self):
        for code in (400, 403, 409, 410, 429, 500, 504):
            self.bus.answer = lambda bus, peer, service, request: bus.final(peer, service, request, status=code,
                                                                           error=f"no {code}")
            status, headers, body = self.get("/_models/u/data")
            self.assertEqual((status, json.loads(body)), (code, {"result": f"no {code}"}))
            self.assertEqual(headers["Content-Type"], "application/json; charset=UTF-8")

    def test_error_text_that_is_no_utf8(self):
        def answer(bus, peer, service, request):
            header = pack({"id": request["id"], "status": 400, "rows": None, "seq": 0, "next": None,
                           "error": b"\xff\"", "state": None})
            bus.socket.send_multipart([peer, b"MDPC02", b"\x03", service, header])
        self.bus.answer = answer
        status, _, body = self.get("/_models/u/data")
        self.assertIn(status, (400, 500, 503, 504))
        self.assertIn("result", json.loads(body))

    def test_unknown_metric(self):
        self.bus.answer = lambda bus, peer, service, request: bus.final(peer, service, request, status=404, error="x")
        for method in ("GET", "HEAD"):
            status, _, body = self.get("/_models/u.1", method=method)
            self.assertEqual(status, 404)
        status, _, body = self.get("/_models/u.1")
        self.assertEqual(json.loads(body), {"result": "ObjectNotFoundError Metric not found: Metric ID: u.1"})
        status, _, body = self.get("/_logging/feedback", method="POST", body='{"uid": "u.1"}')
        self.assertEqual((status, json.loads(body)),
                         (404, {"result": "ObjectNotFoundError Metric not found: Metric ID: u.1"}))

    def test_models(self):
        self.one_page(pack({"uid": "a", "status": 1}) + pack({"uid": "b", "status": 0}) + pack({"uid": "c", "status": 8}))
        self.assertEqual([one["uid"] for one in json.loads(self.get("/_models")[2])], ["a", "c"])
        self.one_page(pack({"uid": "b", "status": 0}))
        self.assertEqual(json.loads(self.get("/_models/b")[2]), [{"uid": "b", "status": 0}])

    def test_head(self):
        self.one_page(pack(NAMES) + rows("a", 1, 3))
        status, headers, body = self.get("/_models/a/data", method="HEAD")
        self.assertEqual((status, headers["Content-Type"], body), (200, "application/json; charset=UTF-8", b""))

    def test_feedback(self):
        self.bus.answer = lambda bus, peer, service, request: bus.final(
            peer, service, request, status=202, payload=pack({"key": "p/metric_dumps/k.tar.gz"}))
        body = json.dumps({"uid": "u", "text": "é\n", "metric": 1, "server_id": "x", "n": [1, 2.5, None]})
        status, headers, answer = self.get("/_logging/feedback", method="POST", body=body.encode())
        self.assertEqual((status, answer), (202, b"p/metric_dumps/k.tar.gz"))
        self.assertTrue(headers["Content-Type"].startswith("text/plain"))
        service, request = self.bus.seen[0]
        self.assertEqual((service, request["op"], request["uid"]), ("metric.feedback", "dump", "u"))
        self.assertEqual(request["extra"], {"text": "é\n", "n": [1, 2.5, None]})
        self.assertIsInstance(request["created"], int)

    def test_ready(self):
        def answer(bus, peer, service, request):
            bus.mmi(peer, service, b"404" if request[0] == missing else b"200")
        self.bus.answer = answer
        def ready(status, sentence=None):
            def is_so():
                got, _, body = self.get("/health/ready")
                return got == status and (sentence is None or json.loads(body) == {"result": sentence})
            harness.wait_until(is_so, what=f"{status} {sentence}")  # what was said is kept for 250 ms
        missing = None
        ready(200)
        for missing in (b"metric.feedback", b"metric.write", b"metric.query"):
            ready(503, f"no worker for {missing.decode()}")
        self.bus.answer = lambda bus, peer, service, request: bus.mmi(peer, service, b"404")
        ready(503, "no worker for metric.query, metric.write, metric.feedback")
        self.bus.answer = None
        ready(503, "the broker does not answer")
        self.assertEqual(self.get("/health/live")[0], 200)

    def test_probes_share_one_set_of_calls(self):
        """However many probe, one set is under way, and serves who comes within 250 ms."""
        held = []

        def hold(bus, peer, service, request):
            held.append((peer, service))
        self.bus.answer = hold
        probe = b"GET /health/ready HTTP/1.1\r\nHost: x\r\n\r\n"
        peers = [self.connect() for _ in range(50)]
        for peer in peers:
            peer.sendall(probe)
        peers[0].close()  # one that does not wait for it
        left = peers.pop(1)
        harness.wait_until(lambda: len(held) == 3, what="the questions")
        self.assertEqual(self.get("/health/live")[0], 200)  # comes behind the probes
        left.close()
        peers = peers[1:]
        self.assertEqual(len(held), 3)
        self.bus.answer = lambda bus, peer, service, request: None
        for peer, service in held:
            self.bus.mmi(peer, service, b"200")
        for peer in peers:
            self.assertEqual(peer.recv(12), b"HTTP/1.1 200")
        self.assertEqual(len(held), 3)

    def test_silent_bus_is_504(self):
        """F46: a suspended connection that nothing resumes."""
        status, _, body = self.get("/_models/u/data")
        self.assertIn(status, (503, 504))
        self.assertIn("result", json.loads(body))
        status, _, body = self.get("/_logging/feedback", method="POST", body='{"uid": "u"}')
        self.assertIn(status, (503, 504))


class Broken(Scripted):
    """F43, F44: answers that end in their middle."""

    def break_off(self, how):
        """Answers the first page, then `how` for the next ones."""
        def answer(bus, peer, service, request):
            if "cursor" not in request:
                bus.partial(peer, service, request, 0, pack(NAMES) + rows("a", 1, 2000), "c0")
                bus.final(peer, service, request, next="c1", seq=1)
            elif how == "error":
                bus.final(peer, service, request, status=400, error="the cursor is bad")
            elif how == "garbage":
                bus.final(peer, service, request, payload=b"\xc1\xc1")
        self.bus.answer = answer

    def test_curl_fails(self):
        for how in ("error", "garbage", "silence"):
            self.break_off(how)
            for version in ("--http1.1", "--http1.0"):
                done = subprocess.run(["curl", "-s", version, "-o", "/dev/null",
                                       self.program.ready["http"] + "/_models/a/data"], timeout=60)
                self.assertIn(done.returncode, (18, 56), (how, version))

    def test_raw_reader_sees_a_reset(self):
        for how in ("error", "garbage", "silence"):
            self.break_off(how)
            peer = self.connect()
            peer.sendall(b"GET /_models/a/data HTTP/1.0\r\n\r\n")
            with self.assertRaises(ConnectionResetError, msg=how):
                while peer.recv(65536):
                    pass

    def test_stalled_reader_is_cut(self):
        def answer(bus, peer, service, request):
            bus.final(peer, service, request, payload=rows("a", 1, 30000), next="c")
        self.bus.answer = answer
        peer = self.connect()
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        peer.sendall(b"GET /_models/a/data HTTP/1.0\r\nAccept: application/octet-stream\r\n\r\n")
        harness.wait_until(lambda: "end=broken" in self.program.errors(), what="the cut")
        asked = self.asked()
        self.assertLess(asked, 30)
        with self.assertRaises(ConnectionResetError):
            while peer.recv(65536):
                pass
        self.assertEqual(self.asked(), asked)

    def test_client_that_leaves(self):
        def answer(bus, peer, service, request):
            bus.final(peer, service, request, payload=rows("a", 1, 20000), next="c")
        self.bus.answer = answer
        peer = self.connect()
        peer.sendall(b"GET /_models/a/data HTTP/1.1\r\nHost: x\r\n\r\n")
        peer.recv(1000)
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.close()
        harness.wait_until(lambda: "end=broken" in self.program.errors(), what="the end")
        asked = self.asked()
        for _ in range(5):
            self.assertEqual(self.asked(), asked)

    def test_stop_resets_what_is_left(self):
        def answer(bus, peer, service, request):
            if "cursor" not in request:
                bus.final(peer, service, request, payload=rows("a", 1, 100), next="c")
        self.bus.answer = answer
        peer = self.connect()
        peer.sendall(b"GET /_models/a/data HTTP/1.0\r\n\r\n")
        self.assertTrue(peer.recv(1000))
        idle = self.connect()
        idle.sendall(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
        self.assertTrue(idle.recv(1000))
        self.program.stop()
        with self.assertRaises(ConnectionResetError):
            while peer.recv(65536):
                pass
        self.assertEqual(idle.recv(10), b"")


if __name__ == "__main__":
    harness.main()
