"""Limits and time: slow clients, too many connections, deadlines (F32-F35, F43, F45, F46)."""
import base64
import contextlib
import json
import pathlib
import random
import resource
import socket
import time

import harness
from curl import curl, make_certificate

LIVE = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n"
QUERY = b"GET /_models/u/data HTTP/1.1\r\nHost: localhost\r\n\r\n"
POST = b"POST /_logging/feedback HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n"


class Limits(harness.Case):
    def up(self, *args, **options):
        self.program = harness.up(self.folder / "data", *args, **options)
        self.addCleanup(self.program.stop)

    def connect(self, source=None, timeout=30):
        host, port = self.program.ready["http"].removeprefix("http://").rsplit(":", 1)
        peer = socket.create_connection((host, int(port)), timeout=timeout, source_address=(source, 0) if source else None)
        self.addCleanup(peer.close)
        return peer

    def ask(self, peer, request=LIVE):
        """True if it is answered 200; False if the connection has ended."""
        try:
            peer.sendall(request)
            answer = b""
            while not answer.partition(b"\r\n\r\n")[2]:
                block = peer.recv(65536)
                if not block:
                    return False
                answer += block
        except (ConnectionResetError, BrokenPipeError):
            return False
        self.assertEqual(answer[:12], b"HTTP/1.1 200")
        return True

    @staticmethod
    def has_ended(peer, timeout):
        """True if it is closed or reset within that time."""
        peer.settimeout(timeout)
        try:
            return peer.recv(65536) == b""
        except ConnectionResetError:
            return True
        except TimeoutError:
            return False


class Caps(Limits):
    def test_oldest_idle_makes_room(self):
        """F35: beyond the cap, the connection that has been idle longest leaves; the rest are unharmed."""
        self.up("--connections-max", "20")
        old = [self.connect() for _ in range(20)]
        for peer in old:
            self.assertTrue(self.ask(peer))
        for peer in old[:5]:
            self.assertTrue(self.ask(peer))  # now those are the youngest
        new = [self.connect() for _ in range(8)]
        for peer in new:
            self.assertTrue(self.ask(peer))
        gone = [self.has_ended(peer, 1) for peer in old]
        self.assertEqual(gone, [False] * 5 + [True] * 8 + [False] * 7)
        for peer in old[:5] + old[13:] + new:
            peer.settimeout(30)
            self.assertTrue(self.ask(peer))
        metrics = harness.http_get(self.program, "/metrics")[2]  # one more that makes room
        self.assertIn(b"metricmq_http_connections_evicted_total 9\n", metrics)
        self.assertIn(b"metricmq_http_connections_refused_total 0\n", metrics)

    def test_busy_ones_are_not_idle(self):
        """F35: where nobody is idle, who comes is refused."""
        self.up("--connections-max", "10")
        busy = [self.connect() for _ in range(10)]
        for peer in busy:
            peer.sendall(POST)
        harness.wait_until(lambda: self.refused_at_once(), what="a refusal")
        for peer in busy:
            self.assertTrue(self.answers(peer, b" " * 1000, b"HTTP/1.1 400"))

    def refused_at_once(self):
        with contextlib.closing(self.connect()) as peer:
            return not self.ask(peer)

    def answers(self, peer, rest, status):
        peer.sendall(rest)
        return peer.recv(65536).startswith(status)

    def test_silent_ones_make_room(self):
        """Connections that never said anything are no better than idle ones."""
        self.up("--connections-max", "10")
        silent = [self.connect() for _ in range(10)]
        harness.wait_until(lambda: not self.refused_at_once(), what="room")
        self.assertTrue(self.has_ended(silent[0], 5))

    def test_connections_of_one_address(self):
        self.up("--connections-max", "50", "--connections-per-address", "3")
        many = [self.connect("127.0.0.2") for _ in range(3)]
        for peer in many:
            self.assertTrue(self.ask(peer))
        self.assertFalse(self.ask(self.connect("127.0.0.2")))
        others = [self.connect(source) for source in ("127.0.0.3", "127.0.0.4") for _ in range(3)]
        local = [self.connect("127.0.0.1") for _ in range(10)]  # where a proxy comes from
        for peer in others + local + many:
            self.assertTrue(self.ask(peer))
        many.pop().close()
        harness.wait_until(lambda: self.ask(self.connect("127.0.0.2")), what="room")

    def test_room_for_descriptors(self):
        """A table of them that grows while there are threads makes all of them wait."""
        wanted = min(20000, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
        self.up("--connections-max", str(wanted - 1000))
        status = pathlib.Path(f"/proc/{self.program.process.pid}/status").read_text()
        self.assertGreaterEqual(int(status.partition("FDSize:")[2].split()[0]), wanted - 1000)

    def test_no_bound_of_one_address(self):
        self.up("--connections-per-address", "0")
        for peer in [self.connect("127.0.0.2") for _ in range(300)]:
            self.assertTrue(self.ask(peer))


class Deadlines(Limits):
    """F32, F33, F34: what is slow is cut; who is not, is not."""

    def setUp(self):
        super().setUp()
        self.up("--idle-timeout", "2s", "--header-timeout", "1s", "--stall-timeout", "1s")

    def trickle(self, begin, piece=b"a", every=0.2, most=15):
        """Seconds until the server has had enough, and what it said."""
        peer, began, said = self.connect(timeout=every), time.monotonic(), b""
        try:
            peer.sendall(begin)
            while time.monotonic() - began < most:
                with contextlib.suppress(TimeoutError):
                    block = peer.recv(65536)
                    said += block
                    if not block:
                        break
                peer.sendall(piece)
        except (ConnectionResetError, BrokenPipeError):
            pass
        return time.monotonic() - began, said

    def test_headers(self):
        for begin in (b"", b"GET", b"GET /health/live HTTP/1.1\r\nX: "):
            took, said = self.trickle(begin)
            self.assertTrue(0.9 < took < 10, (begin, took))
            if b"HTTP" in begin:
                self.assertEqual(said[:12], b"HTTP/1.1 408", said)
                self.assertIn(b"\r\nConnection: close\r\n", said)
                self.assertEqual(list(json.loads(said.partition(b"\r\n\r\n")[2])), ["result"])

    def test_bodies(self):
        took, said = self.trickle(POST)
        self.assertTrue(0.9 < took < 10, took)
        self.assertEqual(said[:12], b"HTTP/1.1 408", said)

    def test_a_body_that_gets_ahead(self):
        size = 100 * 400
        peer = self.connect()
        peer.sendall(b"POST /_logging/feedback HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % size)
        for _ in range(99):  # 10 KB/s, longer than the time by far
            peer.sendall(b" " * 400)
            self.assertFalse(self.has_ended(peer, 0.04))
        peer.sendall(b" " * 400)
        peer.settimeout(30)
        self.assertEqual(peer.recv(65536)[:12], b"HTTP/1.1 400")

    def test_idle(self):
        peer, began = self.connect(), time.monotonic()
        self.assertTrue(self.ask(peer))
        self.assertTrue(self.has_ended(peer, 10))
        self.assertGreater(time.monotonic() - began, 1.9)
        peer, began = self.connect(), time.monotonic()
        while time.monotonic() - began < 4:  # each request gives it its time anew
            self.assertTrue(self.ask(peer))

    def test_slow_request_line_behind_an_answer(self):
        peer, began = self.connect(), time.monotonic()
        self.assertTrue(self.ask(peer))
        peer.settimeout(0.2)
        ended = False
        while not ended and time.monotonic() - began < 10:
            with contextlib.suppress(TimeoutError):
                try:
                    peer.sendall(b"G")
                    ended = peer.recv(100) == b""
                except (ConnectionResetError, BrokenPipeError):
                    ended = True
        self.assertTrue(ended)
        self.assertLess(time.monotonic() - began, 8)

    def test_tls_hello_that_does_not_end(self):
        """F37: over a plain port, and over a TLS one."""
        took, _ = self.trickle(b"\x16\x03\x01\x02\x00\x01\x00", b"\x00")
        self.assertLess(took, 10)
        certificate = make_certificate(self.folder)
        self.program.stop()
        self.up("--header-timeout", "1s", "--tls-cert", certificate, "--tls-key", self.folder / "key.pem")
        self.program.ready["http"] = self.program.ready["http"].replace("https", "http")
        for begin in (b"", b"\x16\x03\x01\x02\x00\x01\x00", b"GET / HTTP/1.1\r\n\r\n"):
            took, said = self.trickle(begin, b"\x00")
            self.assertLess(took, 10)
            self.assertNotIn(b"HTTP", said)


class Readers(Limits):
    """F34, F43: readers that stop, crawl or leave."""

    def setUp(self):
        super().setUp()
        self.up("--stall-timeout", "2s")
        harness.run("demo", "--connect", self.program.ready["clients"], "--metrics", "20", "--rows", "20000")

    def begin(self, version=b"1.1", accept=b"application/octet-stream"):
        host, port = self.program.ready["http"].removeprefix("http://").rsplit(":", 1)
        peer = socket.socket()
        self.addCleanup(peer.close)
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        peer.settimeout(30)
        peer.connect((host, int(port)))
        peer.sendall(b"GET /_models/data?anomaly=-1 HTTP/" + version + b"\r\nHost: localhost\r\nAccept: " + accept + b"\r\n\r\n")
        self.assertTrue(peer.recv(1000))
        return peer

    def test_a_stalled_reader_is_cut(self):
        before = self.program.errors().count("end=broken")
        peers = [self.begin(version, accept) for version in (b"1.0", b"1.1")
                 for accept in (b"application/octet-stream", b"application/json", b"text/csv")]
        harness.wait_until(lambda: self.program.errors().count("end=broken") == before + len(peers), what="the cut")
        for peer in peers:
            with self.assertRaises(ConnectionResetError):
                while peer.recv(65536):
                    pass

    def test_a_crawling_reader_is_cut(self):
        peer, began = self.begin(b"1.0"), time.monotonic()
        while "end=broken" not in self.program.errors():
            self.assertTrue(peer.recv(10))
            time.sleep(0.05)  # 200 bytes a second: it is the pace that is tried
            self.assertLess(time.monotonic() - began, 60)
        with self.assertRaises(ConnectionResetError):
            while peer.recv(65536):
                pass

    def test_a_slow_reader_is_not(self):
        peer, began, size = self.begin(), time.monotonic(), 0
        while time.monotonic() - began < 8:
            block = peer.recv(2000)
            self.assertTrue(block)
            size += len(block)
            time.sleep(0.05)  # 40 KB/s
        self.assertGreater(size, 100000)

    def test_who_leaves_costs_no_more(self):
        """F43"""
        def answers():
            return self.program.errors().count('msg="request answered"')
        before = answers()
        for _ in range(10):
            self.begin().close()
        harness.wait_until(lambda: self.program.errors().count("end=broken") >= 10, what="the ends")
        harness.wait_until(lambda: answers() - before >= 10, what="the first page of each")  # logged when it has gone
        self.assertLess(answers() - before, 10 * 6)
        self.assertTrue(self.ask(self.connect(), QUERY))


class Guesses(Limits):
    def test_guesses_of_the_key(self):
        """F45: ten thousand of them, as fast as they go; each is 401, and who has the key is served meanwhile."""
        self.up(env={"METRICMQ_API_KEY": "sesame"})
        seed = harness.seed()
        good = b"Authorization: Basic " + base64.b64encode(b"sesame:") + b"\r\n"
        peers = [self.connect() for _ in range(8)]
        friend = self.connect()
        count, began, slowest = (1000 if harness.SLOW else 10000), time.monotonic(), 0.0
        for _ in range(count // 200):
            for peer in peers:
                guesses = [base64.b64encode(random.Random(seed.random()).randbytes(6) + b":") for _ in range(25)]
                peer.sendall(b"".join(b"GET /_models HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic " + guess + b"\r\n\r\n"
                                      for guess in guesses))
            asked = time.monotonic()
            self.assertTrue(self.ask(friend, b"GET /_models HTTP/1.1\r\nHost: localhost\r\n" + good + b"\r\n"))
            slowest = max(slowest, time.monotonic() - asked)
            for peer in peers:
                answers = b""
                while answers.count(b"the key is missing or wrong") < 25:
                    answers += peer.recv(1 << 20)
                self.assertEqual(answers.count(b"HTTP/1.1 401"), 25)
        print(f"{count / (time.monotonic() - began):.0f} guesses a second; the friend waited {slowest * 1000:.0f} ms at most")
        self.assertLess(slowest, 5)
        self.assertNotIn("sesame", self.program.errors())


class Bodies(Limits):
    def test_too_many_at_once(self):
        """Bodies in memory are bounded over all connections; who comes too late is told when to come again."""
        self.up()
        before = self.program.rss()
        size = 1024 * 1024
        head = b"POST /_logging/feedback HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % size
        peers = [self.connect() for _ in range(64)]  # which fill the room but for 64 bytes
        for peer in peers:
            peer.sendall(head + b" " * (size - 1))

        def probe():
            return curl(self.program, "/_logging/feedback", data=b" " * 1000)
        harness.wait_until(lambda: probe().status == 503, what="the room to be full")
        self.assertEqual(probe()["Retry-After"], "1")
        for peer in peers:
            peer.sendall(b" ")
        self.assertEqual([self.status(peer) for peer in peers], [400] * len(peers))
        self.assertLess(self.program.rss() - before, (512 if harness.SLOW else 200) << 20)
        self.assertEqual(probe().status, 400)

    @staticmethod
    def status(peer):
        return int(peer.recv(65536)[9:12])


if __name__ == "__main__":
    harness.main()
