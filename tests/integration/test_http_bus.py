"""The HTTP adapter against a scripted bus: what it asks, and what it makes of slow, broken and strange answers."""
import json
import socket
import struct
import subprocess
import zlib

import harness
from curl import curl, make_certificate
from fake_bus import NAMES, FakeBus, pack, rows


class Scripted(harness.Case):
    def setUp(self):
        super().setUp()
        self.bus = FakeBus()
        self.addCleanup(self.bus.stop)
        self.start()

    def start(self, *args, http="127.0.0.1:0"):
        self.program = harness.Program("http", "--connect", self.bus.endpoint, "--http", http,
                                       "--timeout", "3s", "--stall-timeout", "1s", "--drain-timeout", "1s", *args)
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
        probe = b"GET /health/ready HTTP/1.1\r\nHost: localhost\r\n\r\n"
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
        for peer, service in list(held):  # hold goes on: who asks again is seen
            self.bus.tasks.append(lambda peer=peer, service=service: self.bus.mmi(peer, service, b"200"))
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


    def test_head_asks_for_one_small_page(self):
        def answer(bus, peer, service, request):
            bus.final(peer, service, request, payload=pack(NAMES) + rows("a", 1, 10), next="c1", state="s-1")
        self.bus.answer = answer
        status, headers, body = self.get("/_models/a/data", method="HEAD")
        self.assertEqual((status, headers["ETag"], headers["Transfer-Encoding"], body),
                         (200, 'W/"s-1-j"', "chunked", b""))
        self.assertEqual(self.asked(), 1)
        self.assertEqual(self.bus.seen[0][1]["max_bytes"], 1024)

    def test_state_of_the_first_part(self):
        """A long answer has its ETag before its page has ended; a client that has it gets no more."""
        def answer(bus, peer, service, request):
            if "cursor" not in request:
                header = {"id": request["id"], "seq": 0, "cursor": "c0", "state": "0f-7"}
                bus.socket.send_multipart([peer, b"MDPC02", b"\x02", service, pack(header), pack(NAMES) + rows("a", 1, 9)])
                bus.final(peer, service, request, next="c1", seq=1, state="0f-7")
            else:
                bus.final(peer, service, request, payload=rows("a", 10, 9), state="0f-8")
        self.bus.answer = answer
        status, headers, body = self.get("/_models/a/data", headers={"Accept": "text/csv"})
        self.assertEqual((status, headers["ETag"], body.count(b"\r\n")), (200, 'W/"0f-7-c"', 19))
        for field, unless in (('W/"0f-7-c"', "0f-7"), ('"x", "0f-7-c"', "0f-7"), ('"old-c","0f-7-c"', "old"),
                              ("*", None), ('"a b-c", W/"0f-7-c"', None)):
            self.bus.seen.clear()
            status, headers, body = self.get("/_models/a/data", headers={"Accept": "text/csv", "If-None-Match": field})
            self.assertEqual((status, headers["ETag"], body), (304, 'W/"0f-7-c"', b""), field)
            self.assertEqual(self.bus.seen[0][1].get("unless"), unless)
        self.bus.answer = lambda bus, peer, service, request: bus.final(peer, service, request, status=304, state="0f-7")
        status, headers, body = self.get("/_models/a/data", headers={"If-None-Match": '"0f-7-j"'})
        self.assertEqual((status, headers["ETag"], body), (304, 'W/"0f-7-j"', b""))

    def test_states_that_are_no_tags(self):
        for state in (None, "", 'a"b', "a\r\nX: y", "\u00e9", "x" * 200):
            self.bus.answer = lambda bus, peer, service, request: bus.final(peer, service, request, state=state,
                                                                           payload=pack(NAMES))
            status, headers, body = self.get("/_models/a/data")
            self.assertEqual((status, headers.get("ETag")), (200, None), state)
            self.assertNotIn("X", headers)

    def test_unavailable_says_when_to_come_again(self):
        self.bus.answer = lambda bus, peer, service, request: bus.final(peer, service, request, status=503, error="full")
        status, headers, body = self.get("/_models/a/data")
        self.assertEqual((status, headers["Retry-After"], json.loads(body)), (503, "1", {"result": "full"}))


FORMS = ("application/json", "application/octet-stream", "text/csv", "application/x-ndjson")


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
                bus.final(peer, service, request, payload=b"\xc1\xc1\xc1")
        self.bus.answer = answer

    def test_curl_fails(self):
        for how in ("error", "garbage", "silence"):
            self.break_off(how)
            for version in ("--http1.1", "--http1.0"):
                done = subprocess.run(["curl", "-s", version, "-o", "/dev/null",
                                       self.program.ready["http"] + "/_models/a/data"], timeout=60)
                self.assertIn(done.returncode, (18, 56), (how, version))

    def assert_curl_fails(self, program, codes, *options):
        """In no form, coding or version does a broken answer look whole."""
        self.break_off("error")
        for form in FORMS:
            for coding in ("identity", "gzip"):
                for version in ("--http1.1", "--http1.0"):
                    answer = curl(program, "/_models/a/data", version, *options,
                                  headers={"Accept": form, "Accept-Encoding": coding})
                    self.assertIn(answer.exit, codes, (form, coding, version, answer.errors))
                    self.assertEqual(answer.status, 200)
                    if coding == "gzip" and "octet" not in form:
                        reader = zlib.decompressobj(31)
                        reader.decompress(answer.body)
                        self.assertFalse(reader.eof, form)

    def test_every_form(self):
        self.assert_curl_fails(self.program, (18, 56))

    def test_tls(self):
        certificate = make_certificate(self.folder)
        self.start("--tls-cert", certificate, "--tls-key", self.folder / "key.pem")
        self.assert_curl_fails(self.program, (18, 56), "--cacert", certificate)

    def test_unix_socket(self):
        """Over a unix socket there is no reset: HTTP/1.1 shows a break by its chunks, HTTP/1.0 gets no such answer."""
        self.start(http=f"unix:{self.folder}/http")
        self.break_off("error")
        for form in FORMS:
            for coding in ("identity", "gzip"):
                headers = {"Accept": form, "Accept-Encoding": coding}
                answer = curl(self.program, "/_models/a/data", headers=headers)
                self.assertIn(answer.exit, (18, 56), form)
                answer = curl(self.program, "/_models/a/data", "--http1.0", headers=headers)
                self.assertEqual((answer.exit, answer.status), (0, 505))
                self.assertIn("HTTP/1.1", json.loads(answer.body)["result"])
        self.bus.answer = lambda bus, peer, service, request: bus.final(peer, service, request,
                                                                       payload=pack(NAMES) + rows("a", 1, 9))
        answer = curl(self.program, "/_models/a/data", "--http1.0")
        self.assertEqual((answer.exit, answer.status, int(answer["Content-Length"])), (0, 200, len(answer.body)))

    def test_raw_reader_sees_a_reset(self):
        for how in ("error", "garbage", "silence"):
            self.break_off(how)
            for form in FORMS:
                if (how, form) == ("garbage", "application/octet-stream"):
                    continue  # the bus's bytes are not looked at
                peer = self.connect()
                peer.sendall(b"GET /_models/a/data HTTP/1.0\r\nAccept: " + form.encode() + b"\r\n\r\n")
                with self.assertRaises(ConnectionResetError, msg=(how, form)):
                    while peer.recv(65536):
                        pass

    def test_garbage_at_first_is_500(self):
        for payload in (b"\xc1\xc1", pack(NAMES) + b"\xc1"):
            self.bus.answer = lambda bus, peer, service, request: bus.final(peer, service, request, payload=payload)
            for form in ("application/json", "text/csv", "application/x-ndjson"):
                status, _, body = self.get("/_models/a/data", headers={"Accept": form})
                self.assertEqual((status, list(json.loads(body))), (500, ["result"]))

    def test_client_that_leaves_while_it_waits(self):
        """Nobody hears of a closed connection that libmicrohttpd does not watch; we look once a second."""
        self.program.stop()
        self.start("--timeout", "60s")
        self.bus.answer = None
        for leave in (lambda peer: peer.close(), lambda peer: peer.shutdown(socket.SHUT_WR)):
            asked = len(self.bus.seen)
            ended = self.program.errors().count("end=broken")
            peer = self.connect()
            peer.sendall(b"GET /_models/a/data HTTP/1.1\r\nHost: localhost\r\n\r\n")
            harness.wait_until(lambda: len(self.bus.seen) > asked, what="the request")
            leave(peer)
            harness.wait_until(lambda: self.program.errors().count("end=broken") > ended, 10, "the end")
        peer = self.connect()
        peer.sendall(b"GET /_models/a/data HTTP/1.1\r\nHost: localhost\r\n\r\n")
        with self.assertRaises(TimeoutError):  # who stays is waited for
            peer.settimeout(4)
            peer.recv(1)

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
        peer.sendall(b"GET /_models/a/data HTTP/1.1\r\nHost: localhost\r\n\r\n")
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
        idle.sendall(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
        self.assertTrue(idle.recv(1000))
        self.program.stop()
        with self.assertRaises(ConnectionResetError):
            while peer.recv(65536):
                pass
        self.assertEqual(idle.recv(10), b"")


if __name__ == "__main__":
    harness.main()
