"""POST /_logging/feedback with Accept: application/x-ndjson: how far it is, and how it ended (docs/http.md)."""
import contextlib
import json
import socket

import harness
import msgpack
from fake_bus import FakeBus, pack

LINES = {"Accept": "application/x-ndjson"}


class Whole(harness.Case):
    def test_lines(self):
        with harness.up(self.folder / "data") as program:
            harness.run("demo", "--connect", program.ready["clients"], "--metrics", "1", "--rows", "50000")
            uid = json.loads(harness.http_get(program, "/_models")[2])[0]["uid"]
            body = json.dumps({"uid": uid})
            status, headers, answer = harness.http_get(program, "/_logging/feedback", LINES, "POST", body)
            self.assertEqual((status, headers["Content-Type"]), (200, "application/x-ndjson"))
            *progress, end = map(json.loads, answer.decode().splitlines())
            self.assertEqual([*dict.fromkeys(line["stage"] for line in progress)], ["build", "upload"])
            for line in progress:
                self.assertLessEqual(line["done"], line["total"])
            self.assertEqual(end["status"], 200)
            self.assertTrue((self.folder / "data" / "uploads" / end["key"]).exists())
            for path, accept in ((body, {}), (body, {"Accept": "application/x-ndjson;q=0"})):
                status, headers, answer = harness.http_get(program, "/_logging/feedback", accept, "POST", path)
                self.assertEqual((status, headers["Content-Type"]), (200, "text/plain"))
            status, _, answer = harness.http_get(program, "/_logging/feedback", LINES, "POST", '{"uid": "nobody"}')
            self.assertEqual((status, "result" in json.loads(answer)), (404, True))


class Parts(harness.Case):
    """A bus that says what the test wants."""

    def setUp(self):
        super().setUp()
        self.bus = FakeBus()
        self.addCleanup(self.bus.stop)
        self.program = harness.Program("http", "--http", "127.0.0.1:0", "--connect", self.bus.endpoint, "--timeout", "2s")
        self.addCleanup(self.program.stop)

    def answer(self, parts, **final):
        def answer(bus, peer, service, request):
            if not service.startswith(b"mmi."):
                for seq, part in enumerate(parts):
                    bus.partial(peer, service, request, seq, part)
                if final:
                    bus.final(peer, service, request, seq=len(parts), **final)
        self.bus.answer = answer
        return harness.http_get(self.program, "/_logging/feedback", LINES, "POST", '{"uid": "a"}')

    def test_how_it_ends(self):
        part = pack({"stage": "build", "done": 1, "total": 2})
        line = b'{"stage":"build","done":1,"total":2}\n'
        status, _, body = self.answer([part], status=200, payload=pack({"key": "k\n\u20ac"}))
        self.assertEqual((status, body), (200, line + '{"status": 200, "key": "k\\n\u20ac"}\n'.encode()))
        status, _, body = self.answer([part, part], status=500, error="no \"room\"")
        self.assertEqual((status, body), (200, 2 * line + b'{"status": 500, "result": "no \\"room\\""}\n'))
        status, _, body = self.answer([part], status=200, payload=b"\xc1")
        self.assertEqual(json.loads(body.splitlines()[-1])["status"], 500)
        for key in ("k" * 4097, b"\xff", ""):
            _, _, body = self.answer([part], status=200, payload=msgpack.packb({"key": key}, use_bin_type=False))
            self.assertEqual(json.loads(body.splitlines()[-1])["status"], 500)
        for error in (None, "", "x" * 5000):
            _, _, body = self.answer([part], status=500, error=error)
            self.assertIn("no reason", json.loads(body.splitlines()[-1])["result"])
        status, headers, body = self.answer([], status=202, payload=pack({"key": "k"}))
        self.assertEqual((status, headers["Content-Type"], body), (202, "text/plain", b"k"))
        status, _, body = self.answer([b"\xc1", part], status=200, payload=pack({"key": "k"}))
        self.assertEqual(body.count(b"\n"), 2)  # what makes no sense is no line

    def test_progress_that_is_none(self):
        """What a worker calls its progress is a line only if it is one: never what a reader would take for the end."""
        good = {"stage": "build", "done": 1, "total": 2}
        bad = [{"status": 200, "key": "k"}, {**good, "stage": 1}, {**good, "stage": "x" * 33}, {**good, "stage": "a\n"},
               {**good, "stage": ""}, {**good, "done": -1}, {**good, "total": None}, {**good, "done": 0.5}, [good], None, 5,
               "stage", {}, {"stage": "build"}]
        parts = [pack(part) for part in bad] + [pack(good)[:-1], b"", pack({**good, "status": 200, "key": "k"})]
        _, _, body = self.answer(parts, status=200, payload=pack({"key": "k"}))
        self.assertEqual([json.loads(line) for line in body.splitlines()], [good, {"status": 200, "key": "k"}])

    def test_lines_that_nobody_can_hold(self):
        many = [pack({"stage": "build", "done": n, "total": 9999}) for n in range(2000)]
        _, _, body = self.answer(many, status=200, payload=pack({"key": "k" * 3000}))
        self.assertEqual(json.loads(body.splitlines()[-1]), {"status": 200, "key": "k" * 3000})

    def test_an_end_that_does_not_come(self):
        _, _, body = self.answer([pack({"stage": "build", "done": 1, "total": 2})])
        self.assertEqual(json.loads(body.splitlines()[-1])["status"], 504)

    def test_a_client_that_leaves(self):
        host, port = self.program.ready["http"].removeprefix("http://").rsplit(":", 1)
        part = pack({"stage": "build", "done": 1, "total": 2})
        self.bus.answer = lambda bus, peer, service, request: (
            None if service.startswith(b"mmi.") else bus.partial(peer, service, request, 0, part))
        with contextlib.closing(socket.create_connection((host, int(port)))) as peer:
            peer.sendall(b"POST /_logging/feedback HTTP/1.1\r\nHost: localhost\r\nAccept: application/x-ndjson\r\n"
                         b"Content-Length: 12\r\n\r\n{\"uid\": \"a\"}")
            got = b""
            while b"total" not in got:
                got += peer.recv(4096)
        harness.wait_until(lambda: "path=/_logging/feedback" in self.program.errors(), what="the request's line in the log")
        self.assertIn("end=broken", self.program.errors())


if __name__ == "__main__":
    harness.main()
