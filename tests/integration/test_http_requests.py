"""Requests that are wrong, hostile or unusual, against the whole program (F37-F42, F45)."""
import base64
import contextlib
import json
import socket
import time

import harness


class Requests(harness.Case):
    args = ()
    env = None

    def setUp(self):
        super().setUp()
        self.program = harness.up(self.folder / "data", *self.args, env=self.env)
        self.addCleanup(self.program.stop)

    def get(self, path, **options):
        return harness.http_get(self.program, path, **options)

    def raw(self, request, first_line=True):
        """The answer to these bytes; up to the end if the server closes."""
        host, port = self.program.ready["http"].removeprefix("http://").rsplit(":", 1)
        with socket.create_connection((host, int(port)), timeout=30) as peer:
            answer = b""
            try:
                peer.sendall(request)
                while block := peer.recv(65536):
                    answer += block
                    if first_line and b"\r\n\r\n" in answer:
                        break
            except (ConnectionResetError, BrokenPipeError):
                pass
        return answer

    def refused(self, status, path, names=None, **options):
        got, headers, body = self.get(path, **options)
        self.assertEqual(got, status, (path, body))
        self.assertEqual(headers["Content-Type"], "application/json; charset=UTF-8")
        answer = json.loads(body)
        self.assertEqual(list(answer), ["result"])
        if names:
            self.assertIn(names, answer["result"], path)
        return headers


class Paths(Requests):
    def test_query_values(self):
        """F38"""
        bad = {"from": ["x", "2013-", "0000-01-01", "10000-01-01", "2013-02-30", "2013-08-15+25:00:00", "1e3", "%ZZ",
                        "%00", "253402300800"],
               "to": ["x", "2013-08-15 ".replace(" ", "+"), "%4"],
               "anomaly": ["nan", "inf", "-inf", "1e999", "x", "0x1", "1+2", "%"],
               "limit": ["-1", "9223372036854775808", "1e3", "5+", "%205", "x", "1.0"]}
        for key, values in bad.items():
            for value in values:
                self.refused(400, f"/_models/data?{key}={value}", key)
                self.refused(400, f"/_models/u/data?{key}=1&{key}={value}", key)
        for query in ("from=&to=&limit=", "from=x&from=5", "limit=9223372036854775807", "limit=0", "from=9&to=5",
                      "from=0001-01-01&to=9999-12-31T23:59:59Z", "anomaly=-1&other=%ZZ", "from=-12", "anomaly=.5",
                      "from=2013-08-15+21%3A34%3A00"):
            self.assertEqual(self.get(f"/_models/data?{query}")[0], 200, query)
        self.assertEqual(self.raw(b"GET /?" + b"a" * 65536 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n")[9:12], b"414")

    def test_uids(self):
        """F39"""
        for uid in ("..", "%2e%2e%2f", "a%2fb", "a%27b", "%C3%A9", "a%20b", "data", "export", "summary", "x" * 101,
                    "x" * 8000, "", "%00", "a%00", "%zz", "."):
            for tail in ("", "/data", "/summary"):
                path = f"/_models/{uid}{tail}"
                if path in ("/_models/", "/_models/data", "/_models/export", "/_models/summary"):
                    continue
                if path in ("/_models//data", "/_models/data/data"):
                    self.refused(400, path)
                    continue
                self.refused(400, path)
        status, _, body = self.get("/_models/unknown/data")
        self.assertEqual((status, json.loads(body)["data"]), (200, []))
        self.refused(404, "/_models/unknown", "ObjectNotFoundError Metric not found: Metric ID: unknown")

    def test_methods(self):
        """F42"""
        for method in ("PUT", "TRACE", "DELETE", "POST", "BREW", "get"):
            headers = self.refused(405, "/_models/u/data", method=method)
            self.assertEqual(headers["Allow"], "GET, HEAD, OPTIONS")
        self.assertEqual(self.refused(405, "/_logging/feedback")["Allow"], "POST, OPTIONS")
        for path in ("/x", "/_models/a/b", "/_models/a/data/b", "/health", "/index.html", "//"):
            self.refused(404, path)
        for path in ("/", "/_models", "/_models/", "/_models/data", "/health/live", "/health/ready"):
            status, headers, body = self.get(path)
            self.assertEqual(status, 200, path)
            head = self.get(path, method="HEAD")
            self.assertEqual((head[0], head[1]["Content-Type"], head[2]), (200, headers["Content-Type"], b""))

    def test_framing(self):
        """F37"""
        host = b"Host: localhost\r\n"
        bad = [b"GET / HTTP/1.1\r\n\r\n",
               b"GET http://x/ HTTP/1.1\r\n" + host + b"\r\n",
               b"GET /%00 HTTP/1.1\r\n" + host + b"\r\n",
               b"GET * HTTP/1.1\r\n" + host + b"\r\n",
               b"POST / HTTP/1.1\r\n" + host + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
               b"POST / HTTP/1.1\r\n" + host + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",
               b"POST / HTTP/1.1\r\n" + host + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"]
        for request in bad:
            answer = self.raw(request + b"GET /health/live HTTP/1.1\r\n" + host + b"\r\n", first_line=False)
            self.assertEqual(answer[:12], b"HTTP/1.1 400", request)
            self.assertIn(b"onnection: close", answer, request)
            self.assertEqual(answer.count(b"HTTP/1.1 "), 1, request)
        for junk in (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"GET /\r\n\r\n",
                     b"GET / HTTP/1.1\r\n" + host + b"A: " + b"b" * 1000000 + b"\r\n\r\n",
                     b"GET / HTTP/1.1\r\n" + host + b"A: b\r\n" * 100000 + b"\r\n"):
            answer = self.raw(junk)
            self.assertIn(answer[9:12], (b"400", b"413", b"414", b"431", b"505", b""), junk[:40])
        self.assertEqual(self.get("/health/live")[0], 200)

    def test_more_arguments_than_the_pool_holds(self):
        """F37: libmicrohttpd closes such a connection without a word; its exchange must go with it."""
        for _ in range(3):
            self.raw(b"GET /_models/data?" + b"a=&" * 6000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n")
        self.assertEqual(self.get("/health/live")[0], 200)
        began = time.monotonic()
        self.program.stop()
        self.assertLess(time.monotonic() - began, 5, "exchanges held up the drain")

    def test_pipelined(self):
        """F36"""
        one = b"GET /_models/u/data HTTP/1.1\r\nHost: localhost\r\n\r\n"
        post = b"POST /_logging/feedback HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}"
        last = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        answer = self.raw((one * 9 + post) * 20 + last, first_line=False)
        codes = [part[:3] for part in answer.split(b"HTTP/1.1 ")[1:]]
        self.assertEqual(codes, ([b"200"] * 9 + [b"400"]) * 20 + [b"200"])


class Trickles(Requests):
    args = ("--idle-timeout", "1s", "--header-timeout", "1s", "--stall-timeout", "1s")

    def test_slow_requests_are_cut(self):
        """F32, F33: a byte now and then keeps no connection for ever; whole requests go on."""
        host, port = self.program.ready["http"].removeprefix("http://").rsplit(":", 1)
        post = b"POST /_logging/feedback HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n"
        live = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n"
        for begin, ends in ((b"GET", True), (b"GET / HTTP/1.1\r\nX: ", True), (post, True), (b"", False)):
            with socket.create_connection((host, int(port)), timeout=0.25) as peer:
                began, cut = time.monotonic(), False
                try:
                    peer.sendall(begin)
                    while not cut and time.monotonic() - began < 5:
                        peer.sendall(b"a" if ends else live)
                        with contextlib.suppress(TimeoutError):
                            cut = peer.recv(4096) == b""
                except (ConnectionResetError, BrokenPipeError):
                    cut = True
            self.assertEqual(cut, ends, begin)


class Bodies(Requests):
    def post(self, body, status):
        self.refused(status, "/_logging/feedback", method="POST", body=body)

    def test_bad_json(self):
        """F40"""
        for body in (b"", b"x", b"[]", b"5", b"{}", b'{"uid": 5}', b'{"uid": null}', b'{"uid": ""}', b'{"uid": "a/b"}',
                     b'{"uid": "data"}', b'{"uid": "a"} x', b'{"uid": "a", "uid": "a"}', b'{"uid": "\\u0000"}',
                     b'{"uid": "a", "x": "\\ud800"}', b'{"uid": "a", "x": 1e999}', b'\xef\xbb\xbf{"uid": "a"}',
                     b"\xff\xfe", b'{"uid": "a", "x": 01}', b"[" * 1000000, b'{"a":' * 150000,
                     b'{"uid": "a", "x": ' + b"1" * 100000 + b"}", b'{"uid": "a", "x": "\xff"}'):
            self.post(body, 400)

    def test_unknown_metric(self):
        self.post(b'{"uid": "nothing", "x": 1}', 404)

    def test_too_big(self):
        before = self.program.rss()
        for size in (1024 * 1024 + 1, 7 * 1024 * 1024):
            self.post(b" " * size, 413)
        host = b"Host: localhost\r\n"
        answer = self.raw(b"POST /_logging/feedback HTTP/1.1\r\n" + host + b"Content-Length: 9000000\r\n\r\n"
                          + b" " * 9000000, first_line=False)
        self.assertEqual(answer[:12], b"HTTP/1.1 413")
        self.assertEqual(list(json.loads(answer.partition(b"\r\n\r\n")[2])), ["result"])
        answer = self.raw(b"POST /_logging/feedback HTTP/1.1\r\n" + host +
                          b"Content-Length: 1073741824\r\nExpect: 100-continue\r\n\r\n")
        self.assertEqual(answer[:12], b"HTTP/1.1 413")
        self.assertLess(self.program.rss() - before, (256 if harness.SLOW else 32) << 20)

    def test_body_where_none_is_wanted(self):
        self.assertEqual(self.get("/_models", body=b"x" * 100000)[0], 200)
        self.refused(404, "/nothing", method="POST", body=b"x" * 2000000)


class Keyed(Requests):
    """F45"""
    env = {"METRICMQ_API_KEY": "sesame:1"}

    def test_key(self):
        def basic(text, scheme="Basic"):
            return {"Authorization": f"{scheme} " + base64.b64encode(text.encode()).decode()}
        for path in ("/_models", "/_models/u/data", "/nothing"):
            for headers in ({}, basic("wrong:"), basic("sesame:1"), basic("sesame:1::"), basic("sesame:1:", "Bearer"),
                            {"Authorization": "Basic !!!"}, {"Authorization": ""}):
                got = self.refused(401, path, headers=headers)
                self.assertTrue(got["WWW-Authenticate"].startswith("Basic "))
        self.refused(401, "/_logging/feedback", method="POST", body=b"{}")
        self.refused(404, "/health/nothing")
        for scheme in ("Basic", "basic"):
            self.assertEqual(self.get("/_models", headers=basic("sesame:1:", scheme))[0], 200)
        for path in ("/", "/health/live", "/health/ready"):
            self.assertEqual(self.get(path)[0], 200)
        self.assertNotIn("sesame", self.program.errors())


if __name__ == "__main__":
    harness.main()
