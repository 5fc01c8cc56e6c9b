"""A corpus of raw requests: smuggling, odd lines and targets, things that might be echoed (F37, F39).

Each request is sent with a marker request right behind it, on one connection. What comes back is read as strictly as HTTP
is written: so many answers with those statuses, and then either the marker's answer or the end of the connection. An answer
to anything else, an inner request above all, is a desynchronised connection. After each the server must answer a good
request on a new connection.

`{"uid": "a"}` as the body of feedback is 404 if it came through byte for byte, and 400 if anything else did.
"""
import re
import socket

import harness
from fake_bus import FakeBus

HOST = b"Host: localhost\r\n"
MARKER = b"GET /health/live HTTP/1.1\r\n" + HOST + b"X-Request-Id: marker\r\nConnection: close\r\n\r\n"
INNER = b"GET /nothing HTTP/1.1\r\n" + HOST + b"X-Request-Id: smuggled\r\n\r\n"
BODY = b'{"uid": "a"}'
CHUNKS = b"c\r\n" + BODY + b"\r\n0\r\n\r\n"
LENGTH = b"Content-Length: %d\r\n" % len(BODY)

# What comes back. Statuses in order; GOES_ON: then the marker's answer.
GOES_ON, ENDS = True, False
# By libmicrohttpd itself, before there is a request: its own text, or none, and the end.
LIBRARY = "library"


def get(fields=b"", target=b"/health/live", version=b"HTTP/1.1", method=b"GET", host=HOST):
    return method + b" " + target + b" " + version + b"\r\n" + host + fields + b"\r\n"


def post(fields, body, version=b"HTTP/1.1"):
    return b"POST /_logging/feedback " + version + b"\r\n" + HOST + fields + b"\r\n" + body


class Answer:
    def __init__(self, status, fields, body):
        self.status, self.fields, self.body = status, fields, body
        self.ours = "server" in fields  # libmicrohttpd's own texts name nobody

    @property
    def id(self):
        return self.fields.get("x-request-id")


class Raw(harness.Case):
    @classmethod
    def setUpClass(cls):
        cls.bus = FakeBus()
        cls.addClassCleanup(cls.bus.stop)

        def answer(bus, peer, service, request):
            if not service.startswith(b"mmi."):
                bus.final(peer, service, request, status=404, error="there is no such metric")
        cls.bus.answer = answer
        cls.program = harness.Program("http", "--connect", cls.bus.endpoint, "--http", "127.0.0.1:0", "--timeout", "5s",
                                      "--stall-timeout", "300ms", "--header-timeout", "1s", "--cors-origin", "https://a.example")
        cls.addClassCleanup(cls.program.stop)

    def exchange(self, request, marker=MARKER):
        """All bytes that come back, to the end of the connection."""
        host, port = self.program.ready["http"].removeprefix("http://").rsplit(":", 1)
        came = b""
        with socket.create_connection((host, int(port)), timeout=30) as peer:
            try:
                peer.sendall(request + marker)
                while block := peer.recv(65536):
                    came += block
            except (ConnectionResetError, BrokenPipeError):
                pass
        return came

    def parse(self, came, heads=()):
        """The answers in these bytes; heads: places of those to HEAD."""
        answers = []
        while came:
            head, mark, came = came.partition(b"\r\n\r\n")
            self.assertTrue(mark, head)
            first, *lines = head.split(b"\r\n")
            self.assertRegex(first, rb"^HTTP/1\.1 [1-5][0-9][0-9] [A-Za-z -]+$")
            fields = {}
            for line in lines:
                self.assertRegex(line, rb"^[-A-Za-z]+: [\x20-\x7e]*$")  # so no CR, LF or NUL of anybody's
                name, value = line.decode().split(": ", 1)
                self.assertNotIn(name.lower(), fields)
                fields[name.lower()] = value
            status = int(first[9:12])
            if status == 100:
                continue
            size = int(fields["content-length"]) if status not in (204, 304) and len(answers) not in heads else 0
            self.assertGreaterEqual(len(came), size if "server" in fields else 0)
            answers.append(Answer(status, fields, came[:size]))
            if not answers[-1].ours:  # which may repeat its head, and ends
                self.assertEqual(fields["connection"], "close")
                break
            came = came[size:]
        return answers

    def check(self, name, request, statuses, goes_on, heads=()):
        with self.subTest(name):
            answers = self.parse(self.exchange(request), heads)
            self.assertNotIn("smuggled", [one.id for one in answers])
            if goes_on == LIBRARY:
                self.assertLessEqual(len(answers), 1)
                self.assertIn([one.status for one in answers], [[], *([status] for status in statuses)])
                self.assertFalse(any(one.ours for one in answers))
            elif goes_on:
                self.assertEqual([one.status for one in answers], [*statuses, 200])
                self.assertEqual(answers[-1].id, "marker")
            else:
                self.assertEqual([one.status for one in answers], statuses)
                self.assertEqual(answers[-1].fields["connection"], "close")
            self.assertEqual(harness.http_get(self.program, "/health/live")[0], 200)

    def check_all(self, cases):
        for name, request, statuses, goes_on in cases:
            self.check(name, request, statuses, goes_on)


class Framing(Raw):
    def test_codings(self):
        """F37: a coding that is not exactly `chunked` is not guessed at."""
        self.check_all([(value, post(b"Transfer-Encoding:" + value + b"\r\n", CHUNKS), [404], GOES_ON)
                        for value in (b"chunked", b"Chunked", b" chunked", b"\tchunked")])
        self.check_all([(value, post(b"Transfer-Encoding:" + value + b"\r\n", CHUNKS), [400], ENDS)
                        for value in (b"chunked ", b"x, chunked", b"chunked, chunked", b"identity", b"gzip, chunked",
                                      b"xchunked", b"chunked;q=1", b'"chunked"', b"chu\x00nked", b"\x0bchunked", b"chunked\x0b",
                                      b"identity, chunked", b"", b" ", b"chunked,", b",chunked", b"chun\rked", b"\xa0chunked")])

    def test_hidden_codings(self):
        """F37: one reader would see a coding where another sees none."""
        for fields in (b"Transfer-Encoding : chunked\r\n", b" Transfer-Encoding: chunked\r\n", b"\tTransfer-Encoding: chunked\r\n",
                       b"Transfer-Encoding:\r\n chunked\r\n",
                       b"Transfer-Encoding: chun\r\n ked\r\n", b"Transfer-Encod: chunked\r\n ing\r\n",
                       b"X: y\r\n Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: chunked\r\n identity\r\n",
                       b"Transfer-Encoding\x0b: chunked\r\n", b"Transfer-Encoding\xa0: chunked\r\n"):
            for more in (b"", LENGTH):
                self.check(fields + more, post(more + fields, BODY + INNER), [400], ENDS)
        self.check("a CR ends no line", post(b"X: x\rTransfer-Encoding: chunked\r\n" + LENGTH, BODY), [404], GOES_ON)

    def test_both_and_twice(self):
        """F37"""
        te, te_too = b"Transfer-Encoding: chunked\r\n", b"transfer-encoding: identity\r\n"
        for fields, body in ((b"Content-Length: 6\r\n" + te, b"0\r\n\r\nG"), (te + b"Content-Length: 4\r\n", b"5c\r\n" + INNER),
                             (te + b"Content-Length: 0\r\n", CHUNKS), (te + te, CHUNKS), (te + te_too, CHUNKS),
                             (te_too + te, CHUNKS), (LENGTH + LENGTH, BODY), (LENGTH + b"content-length: 0\r\n", BODY),
                             (b"Content-Length: 0\r\n" + LENGTH, BODY + INNER)):
            self.check(fields, post(fields, body), [400], ENDS)
        self.check("1.0", post(te, CHUNKS, b"HTTP/1.0"), [400], ENDS)
        self.check("1.0, kept", post(te + b"Connection: keep-alive\r\n", CHUNKS, b"HTTP/1.0"), [400], ENDS)

    def test_lengths(self):
        """F37: digits, and nothing else."""
        n = b"%d" % len(BODY)
        for value in (n, b" " + n, b"0" + n, b"0000000000000000000000" + n):
            self.check(value, post(b"Content-Length:" + value + b"\r\n", BODY), [404], GOES_ON)
        for value in (n + b" ", n + b"\t", b"+" + n, b"-" + n, b"0xc", n + b"," + n, n + b", " + n, n + b";", b"", b" ", n + b" " + n,
                      n + b".0", b"1e1", b"\xb9\xb2", b"\x00" + n, n + b"\x0b", n + b"\r", b"\x0b" + n):
            self.check(value, post(b"Content-Length:" + value + b"\r\n", BODY), [400], LIBRARY)
        for value in (b"18446744073709551628", b"99999999999999999999", b"9" * 1000):
            self.check(value, post(b"Content-Length:" + value + b"\r\n", BODY), [413, 400], LIBRARY)
        for value in (b"9223372036854775808", b"18446744073709551615"):
            self.check(value, post(b"Content-Length:" + value + b"\r\n", BODY), [400], ENDS)

    def test_hidden_lengths(self):
        """F37: the same for lengths; what would be the body must not be the next request."""
        for fields in (b"Content-Length : 12\r\n", b"Content-Length:\r\n 12\r\n", b"Content-Len: 12\r\n gth\r\n",
                       b" Content-Length: 12\r\n", b"X: y\r\n Content-Length: 12\r\n", b"Content-Length: 0\r\n 12\r\n",
                       b"Content-Length\t: 12\r\n", b"Content-Length\x00: 12\r\n", b"Content_Length : 12\r\n"):
            want = ([400], LIBRARY) if b"\x00" in fields else ([400], ENDS)
            self.check(fields, post(fields, BODY + INNER), *want)
        self.check("a body on GET", get(b"Content-Length: %d\r\n" % len(INNER)) + INNER, [200], GOES_ON)
        self.check("a body on DELETE", get(b"Content-Length: %d\r\n" % len(INNER), b"/_models/a", method=b"DELETE") + INNER, [404],
                   GOES_ON)
        self.check("a body where there is nothing", get(b"Content-Length: %d\r\n" % len(INNER), b"/nothing", method=b"POST") + INNER,
                   [404], GOES_ON)
        self.check("a body on HEAD", get(b"Content-Length: %d\r\n" % len(INNER), method=b"HEAD") + INNER, [200], GOES_ON,
                   heads=(0,))
        self.check("a body of a foreign Host", get(b"Content-Length: %d\r\n" % len(INNER), host=b"Host: evil.example\r\n") + INNER,
                   [403], GOES_ON)

    def test_ends_of_headers(self):
        """F37: a line that libmicrohttpd takes for the end of the headers, so that the next would be a request."""
        for line in (b": e\r\n", b":\r\n", b": \r\n", b"A: \x00\r\n", b"A: \x00\x00\r\n", b"\x00\r\n", b"\x00A: b\r\n", b"\x00: x\r\n", b": e: f\r\n", b":" * 100 + b"\r\n",
                     b"A: b\x00\r\n: e\r\n"):
            more = b"" if line.startswith(b"A: \x00") and b"e" not in line else INNER[:-2]
            self.check(line, get(line + more), [400], ENDS)
        for line in (b"A:\r\n", b"A: \r\n", b"A: b  \r\n", b"A: b\t\r\n", b"A: b\n", b"A: x\x00y\r\n", b"A: x\x00\x00y\r\n",
                     b"A: b\rc\r\n", b"A: :\r\n", b"A::\r\n"):
            self.check(line, get(line), [200], GOES_ON)
            self.check(b"before " + line, get(line + b"B: c\r\n"), [200], GOES_ON)

    def test_chunks(self):
        c = BODY + b"\r\n"
        for body in (b"c\r\n" + c + b"0\r\n\r\n", b"C\r\n" + c + b"0\r\n\r\n", b"00c\r\n" + c + b"000\r\n\r\n", b"c;a=b\r\n" + c + b"0;a\r\n\r\n",
                     b"c;\r\n" + c + b"0\r\n\r\n", b'c;a="\r\n' + c + b"0\r\n\r\n", b"c\n" + BODY + b"\n0\n\n",
                     b"c\r\n" + c + b"0\r\nX: y\r\n\r\n", b"c\r\n" + c + b"0\r\nContent-Length: 500\r\n\r\n",
                     b"c\r\n" + c + b"0\r\nTransfer-Encoding: gzip\r\nHost: evil\r\n\r\n", b"1\r\n{\r\nb\r\n" + c[1:] + b"0\r\n\r\n"):
            self.check(body, post(b"Transfer-Encoding: chunked\r\n", body), [404], GOES_ON)
        self.check("none", post(b"Transfer-Encoding: chunked\r\n", b"0\r\n\r\n"), [400], GOES_ON)
        self.check("CR in it, LF behind", post(b"Transfer-Encoding: chunked\r\n", b"d\r\n" + c + b"0\r\n\r\n"), [404], GOES_ON)
        for body in (b"0xc\r\n" + c + b"0\r\n\r\n", b"+c\r\n" + c + b"0\r\n\r\n", b"-c\r\n" + c + b"0\r\n\r\n", b" c\r\n" + c + b"0\r\n\r\n",
                     b"c \r\n" + c + b"0\r\n\r\n", b"c\r" + BODY + b"\r0\r\r", b"c\r\n" + BODY + b"0\r\n\r\n", b"c\r\n" + BODY + b"xx0\r\n\r\n",
                     b"g\r\n" + c + b"0\r\n\r\n", b"\r\n0\r\n\r\n", b"c\x00\r\n" + c + b"0\r\n\r\n", b"c;a\nb\r\n" + c + b"0\r\n\r\n",
                     b"b\r\n" + c + b"0\r\n\r\n", b"c_\r\n" + c + b"0\r\n\r\n", b"\xef\xbc\x83\r\n" + c):
            self.check(body, post(b"Transfer-Encoding: chunked\r\n", body + INNER), [400, 413], LIBRARY)

    def test_chunk_sizes(self):
        """F37: sizes that do not fit a number, or the bound of a body, or that never come."""
        for size in (b"1000000000000000c", b"10000000000000000c", b"f" * 17, b"f" * 1000):
            self.check(size, post(b"Transfer-Encoding: chunked\r\n", size + b"\r\n" + BODY + INNER), [413, 400], LIBRARY)
        for body in (b"f" * 16 + b"\r\n" + BODY, b"c;" + b"a" * 50000 + b"\r\n" + BODY, b"800000\r\n" + BODY):
            answers = self.parse(self.exchange(post(b"Transfer-Encoding: chunked\r\n", body + INNER)))
            self.assertEqual([one.status for one in answers], [408], "cut by the deadline of bodies")


class Lines(Raw):
    def test_ends_of_lines(self):
        """F37: a bare LF ends a line; the next request is where it is."""
        live = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n"
        self.check_all([
            ("LF", live.replace(b"\r\n", b"\n"), [200], GOES_ON),
            ("LF in the middle", b"GET /health/live HTTP/1.1\r\nHost: localhost\nA: b\r\n\r\n", [200], GOES_ON),
            ("LF at the end", b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\n", [200], GOES_ON),
            ("LF, then CR LF", b"GET /health/live HTTP/1.1\nHost: localhost\n\r\n", [200], GOES_ON),
            ("empty lines before", b"\r\n\r\n\n" + live, [200], GOES_ON),
            ("many of them", b"\r\n" * 5000 + live, [200], GOES_ON),
            ("CR for all", live.replace(b"\r\n", b"\r") + b"\r\n", [400], LIBRARY),
            ("CR CR LF", b"GET /health/live HTTP/1.1\r\r\nHost: localhost\r\n\r\n", [400], LIBRARY),
            ("LF in a body's head", post(LENGTH, BODY).replace(b"\r\n", b"\n"), [404], GOES_ON),
        ])

    def test_folded_headers(self):
        for fields in (b"A: b\r\n c\r\n", b"A:\r\n\tb\r\n", b"A: b\r\n \r\n", b"A: b\r\n c\r\n d\r\nB: c\r\n", b"\tA: b\r\n", b"Accept: a\r\n ;q=1\r\n"):
            self.check(fields, get(fields), [400], ENDS)
            self.check(fields, get(b"C: d\r\n" + fields + b"E: f\r\n"), [400], ENDS)
        for line in (b" X: y\r\n", b"\tHost: evil.example\r\n"):
            self.check(line, b"GET /health/live HTTP/1.1\r\n" + line + HOST + b"\r\n", [400], ENDS)

    def test_names_of_headers(self):
        for name in (b"a b", b"a ", b" a", b"\xc3\xa9", b"a\x7f", b"(a)", b"a/b", b"a@b", b"a,b", b'"a"', b"a\\b", b"[a]", b"{a}", b"a=b",
                     b"a\tb", b"a\x01"):
            self.check(name, get(b"X: y\r\n" + name + b": c\r\n"), [400], ENDS)
        for name in (b"a", b"a.b", b"!#$%&'*+-.^_`|~9Z", b"x" * 8000):
            self.check(name, get(name + b": c\r\n"), [200], GOES_ON)
        for line in (b"no colon\r\n", b"a\x00b: c\r\n"):
            self.check(line, get(line), [400], LIBRARY)

    def test_request_lines(self):
        ok = [b"GET /health/live HTTP/1.1", b"GET /health/live HTTP/1.2", b"GET  /health/live HTTP/1.1", b"GET /health/live?# HTTP/1.1",
              b"GET /health/live?\xff HTTP/1.1"]
        for line in ok:
            self.check(line, line + b"\r\n" + HOST + b"\r\n", [200], GOES_ON)
        ends = [b"GET /health/live  HTTP/1.1", b"GET /health/live x HTTP/1.1", b"GET health/live HTTP/1.1", b"GET * HTTP/1.1",
                b"GET http://localhost/health/live HTTP/1.1", b"GET HTTP://LOCALHOST/ HTTP/1.1", b"GET ?x HTTP/1.1",
                b"CONNECT localhost:80 HTTP/1.1", b"GET /health\x0blive HTTP/1.1", b"GET /health/live\x7f HTTP/1.1",
                b"\xff\xfe /health/live HTTP/1.1", b"{}GET /health/live HTTP/1.1", b"G(T /health/live HTTP/1.1", b"GET: / HTTP/1.1",
                b"GET file:///etc/passwd HTTP/1.1", b"GET @localhost/ HTTP/1.1", b"GET \\health\\live HTTP/1.1"]
        for line in ends:
            self.check(line, line + b"\r\n" + HOST + b"\r\n", [400], ENDS)
        library = [b"GET /health/live", b"GET /health/live HTTP/0.9", b"GET /health/live HTTP/2.0", b"GET /health/live HTTP/1.1 ",
                   b"GET\t/health/live\tHTTP/1.1", b" GET /health/live HTTP/1.1", b"GET /health/live http/1.1",
                   b"GET /health/live HTTP/1.1 x", b"GET HTTP/1.1", b"GET", b"/health/live HTTP/1.1", b"GET /health/live HTTP/11",
                   b"GET /health/live HTTP/1.10", b"GET /health/live HTTP/01.1", b"GET /health/live HTTP/1", b"GET /health/live HTTP/",
                   b"GET /health/live \xc3\xa9TTP/1.1", b"GET /health/live HTTP/1.1\x00", b"GET  HTTP/1.1", b"HTTP/1.1 200 OK",
                   b"GET /" + b"a" * 40000 + b" HTTP/1.1"]
        for line in library:
            self.check(line[:40], line + b"\r\n" + HOST + b"\r\n", [400, 414, 505], LIBRARY)
        for line, status in ((b"GET //localhost/health/live HTTP/1.1", 404), (b"CONNECT / HTTP/1.1", 405), (b"get /health/live HTTP/1.1", 405),
                             (b"G" * 10000 + b" / HTTP/1.1", 405), (b"GET /" + b"a" * 9000 + b" HTTP/1.1", 414),
                             (b"GET /health/live#x HTTP/1.1", 404), (b"GET /health/\x00live HTTP/1.1", 404)):
            self.check(line[:40], line + b"\r\n" + HOST + b"\r\n", [status], GOES_ON)

    def test_fields_that_ask_for_more(self):
        """Range, Upgrade, Trailer and the like ask for what we do not have: the answer is that without them."""
        for fields in (b"Range: bytes=0-1\r\n", b"Range: bytes=5-1,x\r\n", b"Expect: nonsense\r\n", b"Trailer: Content-Length\r\n",
                       b"Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAA\r\n",
                       b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: x\r\n", b"TE: trailers, deflate\r\n",
                       b"Connection: keep-alive\r\n", b"Connection: Host\r\n", b"Connection: \r\n", b"Max-Forwards: 0\r\n",
                       b"X-HTTP-Method-Override: DELETE\r\n", b"X-Original-URL: /metrics\r\n", b"X-Rewrite-URL: /metrics\r\n",
                       b"Cookie: =;;;=\x01\r\n", b"Authorization: Basic !!!\r\n", b"Proxy: http://evil.example\r\n",
                       b"Accept: " + b"a/b;q=0.1," * 1500 + b"\r\n", b"Accept-Encoding: " + b"gzip," * 2500 + b"\r\n",
                       b"If-None-Match: " + b'"a",' * 3000 + b"\r\n", b"a: " + b"b" * 16000 + b"\r\n"):
            self.check(fields[:40], get(fields), [200], GOES_ON)
        self.check("close", get(b"Connection: close, keep-alive\r\n"), [200], ENDS)
        self.check("Expect", post(b"Expect: 100-continue\r\n" + LENGTH, BODY), [404], GOES_ON)
        self.check("Expect, chunked", post(b"Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n", CHUNKS), [404], GOES_ON)
        self.check("Expect where nothing is", get(b"Expect: 100-continue\r\n" + LENGTH, b"/nothing", method=b"POST") + BODY, [404], ENDS)
        answers = self.parse(self.exchange(get(b"Expect: 100-continue\r\nConnection: close\r\n"), b""))
        self.assertEqual([one.status for one in answers], [200])

    def test_many_of_everything(self):
        """F37: more than there is room for."""
        for name, request in (("headers", get(b"a: b\r\n" * 1000)), ("more headers", get(b"a: b\r\n" * 100000)),
                              ("a long one", get(b"a: " + b"b" * 30000 + b"\r\n")), ("a long name", get(b"a" * 30000 + b": b\r\n")),
                              ("cookies", get(b"Cookie: " + b"a=b; " * 3000 + b"\r\n")), ("a method", b"G" * 100000 + b" / HTTP/1.1\r\n\r\n"),
                              ("arguments", get(target=b"/_models/data?" + b"a=b&" * 2000)), ("ampersands", get(target=b"/_models/data?" + b"&" * 8000)),
                              ("trailers", post(b"Transfer-Encoding: chunked\r\n", b"0\r\n" + b"X: y\r\n" * 20000 + b"\r\n")),
                              ("a line without end", b"GET /" + b"a" * 1000000), ("nothing but LF", b"\n" * 10)):
            with self.subTest(name):
                answers = self.parse(self.exchange(request, b"" if name == "a line without end" else MARKER))
                self.assertLessEqual(len(answers), 1)
                self.assertIn([one.status for one in answers], [[], [400], [408], [413], [414], [431], [200]] if name == "nothing but LF"
                              else [[], [400], [408], [413], [414], [431]])
                self.assertEqual(harness.http_get(self.program, "/health/live")[0], 200)
        self.assertLess(self.program.rss(), (1024 if harness.SLOW else 96) << 20)


class Targets(Raw):
    """F37, F39: a path is split, then each part is decoded, once."""

    def test_paths(self):
        bad = [b"/%00", b"/_models/a%00", b"/_models/%00/data", b"/%", b"/%4", b"/%zz", b"/_models/%ZZ/data", b"/%u0061", b"/a\x1fb", b"/\x7f"]
        for target in bad:
            self.check(target, get(target=target), [400], ENDS)
        uids = [b"..", b".", b"%2e%2e", b"%2e", b"..%2f..%2fetc%2fpasswd", b"a%2fb", b"a%2Fdata", b"%252e%252e", b"%c0%ae%c0%ae", b"%c0%af",
                b"%e0%80%af", b"%f0%80%80%af", b"%ff%fe", b"\xc3\xa9", b"%C3%A9", b"a'b", b"a%27%20OR%20%271%27=%271", b'a"b', b"a%22b",
                b"a%3bDROP%20TABLE%20metric", b"a%0d%0aX-Evil:%20yes", b"a%0aSet-Cookie:%20a=b", b"a%20b", b"a+b", b"a%5cb", b"a\\b", b"a%09b",
                b"a%7fb", b"%ef%bc%8e%ef%bc%8e", b"<script>", b"x" * 101, b"summary"]
        for uid in uids:
            for tail in (b"", b"/data", b"/export", b"/summary")[uid == b"summary":]:
                came = self.exchange(get(target=b"/_models/" + uid + tail))
                answers = self.parse(came)
                self.assertEqual([one.status for one in answers], [400, 200], (uid, tail))
                for word in (b"SELECT", b"sqlite", b"syntax", b"etc/passwd", b"X-Evil", b"Set-Cookie", b"<script>"):
                    self.assertNotIn(word, came)
        for target, status in ((b"/_models/..", 400), (b"/_models/../metrics", 404), (b"/./_models", 404), (b"/_models/./data", 400),
                               (b"//_models", 404), (b"/_models//", 400), (b"/%5fmodels/a", 404), (b"/%2fmetrics", 404), (b"/..%2fmetrics", 404),
                               (b"/%6fpenapi.json", 200), (b"/%256fpenapi.json", 404), (b"/METRICS", 404), (b"/metrics;x", 404), (b"/metrics%20", 404),
                               (b"/metrics/.", 404), (b"/openapi.json/", 200)):
            answers = self.parse(self.exchange(get(target=target)))
            self.assertEqual([one.status for one in answers], [status, 200], target)

    def test_values(self):
        for value in (b"%00", b"%", b"%zz", b"%c0%b1", b"1%00", b"1%0d%0aX-Evil:1", b"\xff", b"'", b"1;2", b"%2b1x", b"1" * 5000):
            for key in (b"from", b"to", b"limit", b"anomaly"):
                came = self.exchange(get(target=b"/_models/data?" + key + b"=" + value))
                answers = self.parse(came)
                self.assertEqual([one.status for one in answers], [400, 200], (key, value[:20]))
                self.assertIn(key, answers[0].body)
                self.assertNotIn(b"X-Evil", came)


class Echoes(Raw):
    """What of a request comes back, in heads and bodies: never a CR, an LF or a byte that is none of a text."""

    EVIL = (b"a\rX-Evil: 1", b"a\x00b", b"a\x0bb", b"\xff\xfe", b"a\x1b[31m", b"a b", b"<script>", b"a;b", b'a"b', b"a" * 65, b"%0d%0aX-Evil: 1")

    def test_ids_and_origins(self):
        for value in self.EVIL:
            for name in (b"X-Request-Id", b"Origin", b"If-None-Match", b"User-Agent", b"Accept", b"Access-Control-Request-Method",
                         b"Access-Control-Request-Headers", b"Accept-Encoding", b"Range", b"Authorization"):
                for method, target in ((b"GET", b"/health/live"), (b"OPTIONS", b"/_models"), (b"GET", b"/nothing"), (b"GET", b"/_models/a")):
                    came = self.exchange(get(name + b": " + value + b"\r\n", target, method=method))
                    answers = self.parse(came)
                    self.assertEqual(len(answers), 2, (name, value))
                    self.assertIn(answers[0].status, (200, 204, 404) if name != b"Origin" else (403,), (name, value))
                    self.assertNotIn(b"X-Evil", came)
                    self.assertNotIn(value, came)
                    self.assertRegex(answers[0].id, r"^[-A-Za-z0-9_.:+/=]{1,64}$")

    def test_what_may_come_back(self):
        answers = self.parse(self.exchange(get(b"X-Request-Id: a.b:c+/=\r\nOrigin: https://a.example\r\n")))
        self.assertEqual((answers[0].id, answers[0].fields["access-control-allow-origin"]), ("a.b:c+/=", "https://a.example"))

    def test_bodies(self):
        for uid in (b"a\\r\\nX-Evil: 1", b"\\u000d\\u000aX: 1", b"<script>", b"../x", b"a b"):
            body = b'{"uid": "' + uid + b'"}'
            answers = self.parse(self.exchange(post(b"Content-Length: %d\r\n" % len(body), body)))
            self.assertEqual([one.status for one in answers], [400, 200])
            self.assertNotRegex(answers[0].body, rb"[\x00-\x1f\x7f]|<script>|X-Evil")

    def test_the_log(self):
        """A line of the log is a line, whatever was asked."""
        self.exchange(b"G\x1bT /a\x01\x02%0a\xff HTTP/1.1\r\n" + HOST + b"User-Agent: a\rb\x1b[0m msg=\"x\"\r\n\r\n")
        self.exchange(get(b"User-Agent: x\x0by\rz\r\nX-Request-Id: logged\r\n", b"/x\x01y\xff"))
        harness.wait_until(lambda: "trace=logged" in self.program.errors(), what="the line")
        for line in self.program.errors().splitlines():
            self.assertRegex(line, r"^ts=\S+ level=\w+ (role=\w+ )?msg=")
            self.assertIsNone(re.search(r"[\x00-\x1f\x7f]", line), line)


if __name__ == "__main__":
    harness.main()
