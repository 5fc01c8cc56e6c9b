"""Keys of HTTP clients, their rights, and guesses of them (F45); Host and Origin."""
import base64
import contextlib
import hashlib
import json
import os
import re
import signal
import socket
import time

import harness
from curl import curl
from fake_bus import FakeBus

JSON_TYPE = "application/json; charset=UTF-8"


def basic(key):
    return {"Authorization": "Basic " + base64.b64encode(f"{key}:".encode()).decode()}


class Adapter(harness.Case):
    """The adapter alone, on a bus that answers 404 to everything: what got so far had its rights."""

    def setUp(self):
        super().setUp()
        self.bus = FakeBus()
        self.addCleanup(self.bus.stop)
        self.bus.answer = self.answer
        self.file = self.folder / "keys"

    @staticmethod
    def answer(bus, peer, service, request):
        if not service.startswith(b"mmi."):  # who serves what, and the broker's counts: silence
            bus.final(peer, service, request, status=404, error="x")

    def start(self, *args, http="127.0.0.1:0", **options):
        self.program = harness.Program("http", "--connect", self.bus.endpoint, "--http", http, "--timeout", "5s", *args,
                                       **options)
        self.addCleanup(self.program.stop)
        return self.program

    def make(self, name, rights):
        return harness.run("key", name, "--rights", rights, "--api-keys", self.file).out.strip()

    def status(self, path, key=None, method="GET", headers=None, body=None):
        return self.ask(path, key, method, headers, body)[0]

    def ask(self, path, key=None, method="GET", headers=None, body=None):
        status, fields, body = harness.http_get(self.program, path, {**(basic(key) if key else {}), **(headers or {})},
                                                method=method, body=body)
        if status >= 400 and method != "HEAD":
            self.assertEqual(fields["Content-Type"], JSON_TYPE)
            self.assertEqual(list(json.loads(body)), ["result"])
        return status, body

    def line(self, pattern):
        return harness.wait_until(lambda: re.search(pattern, self.program.errors()), what=pattern)


READ = [("GET", "/_models"), ("HEAD", "/_models"), ("GET", "/_models/a"), ("GET", "/_models/a/data"), ("GET", "/_models/data"),
        ("GET", "/_models/data/stats"), ("GET", "/_models/export"), ("GET", "/_models/a/export"), ("HEAD", "/_models/data"),
        ("GET", "/_models/summary"), ("GET", "/_models/a/summary")]
WRITE = [("POST", "/_models"), ("PUT", "/_models"), ("DELETE", "/_models/a")]
WANTED = {**{one: "read" for one in READ}, **{one: "write" for one in WRITE}, ("POST", "/_logging/feedback"): "feedback",
          ("GET", "/metrics"): "admin", ("HEAD", "/metrics"): "admin", ("GET", "/_status"): "admin"}
RIGHTS = ("read", "write", "feedback", "admin")


class Rights(Adapter):
    def test_each_right_opens_its_routes_and_no_other(self):
        keys = {rights: self.make(f"k{i}", rights) for i, rights in
                enumerate((*RIGHTS, "write,read", "read,write,feedback,admin"))}
        self.start("--api-keys", self.file)
        for (method, path), wanted in WANTED.items():
            for rights, key in keys.items():
                status, body = self.ask(path, key, method)
                if wanted in rights.split(","):
                    self.assertNotIn(status, (401, 403), (method, path, rights))
                else:
                    self.assertEqual(status, 403, (method, path, rights))
                    if method != "HEAD":
                        self.assertIn(f"`{wanted}`", json.loads(body)["result"])
            self.assertEqual(self.status(path, method=method), 401)
            self.assertEqual(self.status(path, "mmq_" + "0" * 64, method), 401)
        for key in keys.values():  # any key will do
            self.assertEqual(self.status("/openapi.json", key), 200)
            self.assertEqual(self.status("/nothing", key), 404)
            self.assertEqual(self.status("/_models", key, "PATCH"), 405)
            self.assertEqual(self.status("/_models", key, "OPTIONS"), 204)
        for path in ("/", "/page/main.js", "/health/live"):
            self.assertEqual(self.status(path), 200)
        self.assertEqual(self.status("/openapi.json"), 401)

    def test_api_key_goes_on_beside_the_file(self):
        key = self.make("reader", "read")
        self.start("--api-keys", self.file, env={"METRICMQ_API_KEY": "sesame:1"})
        for method, path in WANTED:
            self.assertNotIn(self.status(path, "sesame:1", method), (401, 403))
        self.assertEqual(self.status("/metrics", key), 403)
        self.assertEqual(self.status("/_models/a", key), 404)

    def test_the_log_names_the_key_and_holds_none(self):
        key = self.make("reader", "read")
        self.start("--api-keys", self.file, env={"METRICMQ_API_KEY": "sesame-and-more-of-it"})
        for path, given, name in (("/_models/one", key, "reader"), ("/metrics", key, "reader"),
                                  ("/_models/two", "sesame-and-more-of-it", "api-key"),
                                  ("/_models/three", "mmq_" + "7" * 64, '""'), ("/_models/four", None, '""'),
                                  ("/health/live", key, '""')):
            self.status(path, given)
            self.line(rf"path={path} .* key={name} agent=")
        self.assertEqual(self.status("/metrics", "sesame-and-more-of-it"), 200)
        metrics = self.ask("/metrics", "sesame-and-more-of-it")[1].decode()
        for text in (self.program.errors(), metrics):
            for secret in (key, key[4:], "sesame", "7" * 64, basic(key)["Authorization"][6:],
                           self.file.read_text().split("sha256:")[1].strip()):
                self.assertNotIn(secret, text)

    def test_body_of_a_refused_request(self):
        """403 comes before anything is done, and the connection goes on."""
        key = self.make("reader", "read")
        self.start("--api-keys", self.file)
        seen = []
        self.bus.answer = lambda bus, peer, service, request: seen.append(service)
        self.assertEqual(self.status("/_models", key, "POST", body=b"x" * 3000000), 403)
        self.assertEqual(self.status("/_logging/feedback", key, "POST", body=b'{"uid": "a"}'), 403)
        self.assertEqual(self.status("/_models/a", key, "DELETE"), 403)
        self.assertEqual(seen, [])


class File(Adapter):
    def refused(self, *args, says, env=None):
        done = harness.run("http", "--http", "127.0.0.1:0", *args, check=False, env=env, timeout=30)
        self.assertEqual((done.returncode, done.out, len(done.err.splitlines())), (2, "", 1), done.err)
        self.assertIn(says, done.err)
        return done.err

    def test_faults_name_file_and_line(self):
        good = f"a read sha256:{'0' * 64}\n"
        for text, says in ((good + "b", "keys:2: want `name rights hash`"), ("b reed x", "keys:1: rights are"),
                           ("b read secret-key", "keys:1: the hash must be"), (good * 2, "keys:2: the name a"),
                           ("#\n" + good + good.replace("a ", "b ", 1), "keys:3: this key is that of a")):
            self.file.write_text(text)
            self.file.chmod(0o600)
            said = self.refused("--api-keys", self.file, says=says)
            self.assertNotIn("secret-key", said)
            self.refused("--config", self.config(f'api-keys = "{self.file}"\n'), says=says)
            self.refused(says=says, env={"METRICMQ_API_KEYS": str(self.file)})
        self.file.chmod(0o644)
        self.refused("--api-keys", self.file, says="chmod 600")
        self.refused("--api-keys", self.folder, says="not a regular file")
        self.refused("--api-keys", self.folder / "none", says="No such file")

    def config(self, text):
        path = self.folder / "metricmq.conf"
        path.write_text(text)
        return path

    def test_a_file_without_keys_lets_nobody_in(self):
        self.file.write_text("# none\n")
        self.file.chmod(0o600)
        self.start("--api-keys", self.file)
        self.line("level=warn .*there are no keys")
        self.assertEqual(self.status("/_models", ""), 401)
        self.assertEqual(self.status("/_models", "mmq_" + "0" * 64), 401)

    def test_short_api_keys_are_warned_of(self):
        self.start(env={"METRICMQ_API_KEY": "sesame"})
        self.line("level=warn .*api-key is so short")
        self.start(env={"METRICMQ_API_KEY": "sesame" * 6})
        self.assertEqual(self.status("/_models", "sesame" * 6), 404)
        self.assertNotIn("level=warn", self.program.errors())

    def test_sighup_reads_it_again(self):
        old, revoked = self.make("old", "read"), self.make("revoked", "read")
        for role in ("http", "up"):
            if role == "up":
                self.program = harness.up(self.folder / "data", "--api-keys", self.file)
                self.addCleanup(self.program.stop)
            else:
                self.start("--api-keys", self.file)
            self.assertNotIn(401, (self.status("/_models", old), self.status("/_models", revoked)))
            lines = self.file.read_text()
            new = self.make(f"new-{role}", "admin")
            self.assertEqual(self.status("/metrics", new), 401)
            self.file.write_text(self.file.read_text().replace("revoked", "#"))
            self.program.signal(signal.SIGHUP)
            harness.wait_until(lambda: self.status("/metrics", new) == 200, what="the new key")
            self.assertEqual((self.status("/_models", revoked), self.status("/metrics", old)), (401, 403))
            self.file.write_text("x")  # a mistake changes nothing
            self.program.signal(signal.SIGHUP)
            self.line(r"level=error .*they stay as they were.*keys:1: want")
            self.assertEqual((self.status("/metrics", new), self.status("/_models", revoked)), (200, 401))
            self.file.write_text("")  # but none is none
            self.program.signal(signal.SIGHUP)
            harness.wait_until(lambda: self.status("/metrics", new) == 401, what="the end of the last key")
            self.file.write_text(lines)

    def test_sighup_without_a_file_ends(self):
        """As it did, when a terminal goes."""
        program = harness.Program("http", "--http", "127.0.0.1:0", env={"METRICMQ_API_KEY": "sesame"})
        program.signal(signal.SIGHUP)
        program.stop(status=-signal.SIGHUP)


class Command(harness.Case):
    def refused(self, *args, says, status=2):
        done = harness.run("key", *args, check=False)
        self.assertEqual((done.returncode, done.out, len(done.err.splitlines())), (status, "", 1), done.err)
        self.assertIn(says, done.err)

    def test_key(self):
        key, line = harness.run("key", "phones", "--rights", "feedback,read").out.splitlines()
        self.assertRegex(key, "^mmq_[0-9a-f]{64}$")
        self.assertRegex(line, "^phones read,feedback sha256:[0-9a-f]{64}$")
        self.assertEqual(line.split(":")[1], hashlib.sha256(key.encode()).hexdigest())
        self.assertNotEqual(harness.run("key", "phones", "--rights", "read").out.split()[0], key)

    def test_file(self):
        file = self.folder / "keys"
        old = os.umask(0)
        try:
            for name in ("a", "b"):
                out = harness.run("key", name, "--rights", "read", "--api-keys", file).out
                self.assertRegex(out, "^mmq_[0-9a-f]{64}\n$")
        finally:
            os.umask(old)
        self.assertEqual(file.stat().st_mode & 0o777, 0o600)
        self.assertEqual([line.split()[0] for line in file.read_text().splitlines()], ["a", "b"])
        before = file.read_bytes()
        self.refused("a", "--rights", "read", "--api-keys", file, says="has a key a already", status=1)
        file.chmod(0o606)
        self.refused("c", "--rights", "read", "--api-keys", file, says="is open to others")
        self.assertEqual(file.read_bytes(), before)
        self.refused("c", "--rights", "read", "--api-keys", self.folder / "no" / "keys", says="No such file")

    def test_many_at_once(self):
        file = self.folder / "keys"
        programs = [harness.Program("key", f"k{i}", "--rights", "read", "--api-keys", file, wait=False) for i in range(12)]
        for program in programs:
            self.assertEqual(program.process.wait(30), 0, program.errors())
            program.close()
        self.assertEqual(sorted(line.split()[0] for line in file.read_text().splitlines()),
                         sorted(f"k{i}" for i in range(12)))

    def test_wrong_usage(self):
        self.refused("--rights", "read", says="wants a name")
        self.refused("a", "b", "--rights", "read", says="wants a name")
        self.refused("a/b", "--rights", "read", says="wants a name")
        self.refused("api-key", "--rights", "read", says="wants a name")
        self.refused("a", says="wants --rights")
        for rights in ("reed", "read;write", "read,", "all"):
            self.refused("a", "--rights", rights, says="rights are")


class Beyond(Adapter):
    """Who can be reached from other machines wants a key, or says that it does not."""

    def test_refused_without_a_key(self):
        for http in ("0.0.0.0:0", "[::]:0"):
            for args in (("http",), ("up", "--data", self.folder / "data", "--bind", harness.LOCAL, "--bind-workers",
                                     harness.LOCAL)):
                done = harness.run(*args, "--http", http, check=False, timeout=30)
                self.assertEqual(done.returncode, 2, done.err)
                line, = [line for line in done.err.splitlines() if "metricmq: " in line]
                for part in ("METRICMQ_API_KEY", "--api-keys", "--insecure", http):
                    self.assertIn(part, line)

    def test_with_a_key_or_insecure(self):
        self.make("a", "read")
        for args, env in ((("--insecure",), None), (("--api-keys", self.file), None), ((), {"METRICMQ_API_KEY": "k" * 16}),
                          ((), {"METRICMQ_INSECURE": "true"})):
            program = self.start(*args, http="0.0.0.0:0", env=env)
            program.ready["http"] = program.ready["http"].replace("0.0.0.0", "127.0.0.1")
            self.assertEqual(self.status("/health/live"), 200)

    def test_loopback_and_unix_need_none(self):
        for http in ("127.0.0.1:0", "127.3.2.1:0", "[::1]:0", f"unix:{self.folder}/socket"):
            self.assertEqual(curl(self.start(http=http), "/_models", "-g").status, 404)


class Hosts(Adapter):
    """A page anywhere can make its reader's browser send requests here: with its Origin, or by DNS rebinding."""

    def given(self, host=None, origin=None, method="GET", path="/_models/a", more=""):
        """The status of a request with exactly these fields; 400 would be one that was not understood."""
        fields = (f"Host: {host}\r\n" if host is not None else "") + (f"Origin: {origin}\r\n" if origin is not None else "")
        address, port = self.program.ready["http"].removeprefix("http://").rsplit(":", 1)
        with socket.create_connection((address.strip("[]"), int(port)), timeout=30) as peer:
            version = "1.1" if host is not None else "1.0"
            peer.sendall(f"{method} {path} HTTP/{version}\r\n{fields}{more}Connection: close\r\n\r\n".encode("latin-1"))
            answer = b""
            while block := peer.recv(65536):
                answer += block
        head, _, body = answer.partition(b"\r\n\r\n")
        status = int(head[9:12])
        if status == 403 and method != "HEAD":
            self.assertIn(b"Content-Type: application/json; charset=UTF-8", head)
            self.assertEqual(list(json.loads(body)), ["result"])
            self.assertNotIn(b"evil", answer)
        return status

    def test_hosts_of_a_loopback_adapter(self):
        port = self.start().ready["http"].rsplit(":", 1)[1]
        for host in ("127.0.0.1", f"127.0.0.1:{port}", "localhost", f"localhost:{port}", "LOCALHOST", "localhost.", "[::1]",
                     f"[::1]:{port}", "127.0.0.1:1", None):
            self.assertEqual(self.given(host), 404, host)
        for host in ("evil.example", f"evil.example:{port}", "", "127.0.0.1.evil.example", "localhost.evil.example", "10.0.0.1",
                     "0.0.0.0", "evil@localhost", "localhost@evil", "localhost evil", "localhost, evil", "evil, localhost",
                     "localhost:80:evil", "[::1", "127.1", "\xe9vil", "localhost\tevil"):
            for method, path in (("GET", "/_models/a"), ("POST", "/_logging/feedback"), ("GET", "/health/live"), ("GET", "/"),
                                 ("GET", "/nothing"), ("OPTIONS", "*"), ("HEAD", "/_models"), ("DELETE", "/_models/a"),
                                 ("BREW", "/_models")):
                self.assertEqual(self.given(host, method=method, path=path), 403, (host, method, path))
        for more in ("X-Forwarded-Host: localhost\r\n", "Forwarded: host=localhost\r\n", "X-Forwarded-For: 127.0.0.1\r\n"):
            self.assertEqual(self.given("evil.example", more=more), 403, more)
        self.assertEqual(self.given("localhost", more="X-Forwarded-Host: evil.example\r\n"), 404)
        self.assertEqual(self.given("localhost", more="Host: localhost\r\n"), 400)
        self.assertEqual(self.given("localhost", path="http://evil.example/_models"), 400)
        self.assertEqual(self.given("evil.example", path="http://localhost/_models"), 403)

    def test_hosts_of_a_wide_adapter(self):
        """Only names can be rebound: a load balancer may ask by any address."""
        program = self.start("--insecure", http="0.0.0.0:0")
        program.ready["http"] = program.ready["http"].replace("0.0.0.0", "127.0.0.1")
        for host in ("192.0.2.7", "192.0.2.7:80", "[2001:db8::1]:80", "localhost"):
            self.assertEqual(self.given(host), 404, host)
        for host in ("evil.example", "192.0.2.7.evil.example", "2001:db8::1"):
            self.assertEqual(self.given(host), 403, host)

    def test_configured_hosts(self):
        config = self.folder / "conf"
        config.write_text("http-host = metrics.example\nhttp-host = 192.0.2.7\n")
        for args, env in ((("--http-host", "metrics.example", "--http-host", "192.0.2.7"), None), (("--config", config), None)):
            self.start(*args, env=env)
            for host in ("metrics.example", "Metrics.Example.:8080", "192.0.2.7", "127.0.0.1"):
                self.assertEqual(self.given(host), 404, host)
                self.assertEqual(self.given(host, origin=f"https://{host}"), 404, host)
            for host in ("other.example", "x.metrics.example"):
                self.assertEqual(self.given(host), 403, host)
        self.start(env={"METRICMQ_HTTP_HOST": "metrics.example"})
        self.assertEqual((self.given("metrics.example"), self.given("other.example")), (404, 403))
        self.start("--http-host", "*")
        self.assertEqual((self.given("other.example"), self.given("evil", origin="http://other")), (404, 403))
        done = harness.run("http", "--http-host", "a:80", check=False)
        self.assertEqual((done.returncode, "--http-host a:80" in done.err), (2, True))

    def test_unix_sockets(self):
        program = self.start(http=f"unix:{self.folder}/http")
        for host in ("localhost", "unix", "any.example"):
            self.assertEqual(curl(program, "/_models/a", headers={"Host": host}).status, 404)
        self.assertEqual(curl(program, "/_models/a", headers={"Origin": "http://evil.example"}).status, 403)
        program = self.start("--http-host", "metrics.example", http=f"unix:{self.folder}/other")
        for host, status in (("metrics.example", 404), ("evil.example", 403)):
            self.assertEqual(curl(program, "/_models/a", headers={"Host": host}).status, status)

    def test_origins(self):
        port = self.start("--cors-origin", "https://a.example").ready["http"].rsplit(":", 1)[1]
        asked = []
        answer = self.bus.answer
        self.bus.answer = lambda bus, peer, service, request: (asked.append(service), answer(bus, peer, service, request))
        own = f"localhost:{port}"
        for origin in ("https://evil.example", "null", "", "*", "https://a.example.evil.example", "http://a.example",
                       "https://a.example:8443", "https://a.example https://evil.example", f"http://localhost:{int(port) - 1}",
                       "http://localhost", f"http://evil@{own}", "file://", "evil"):
            for method, path in (("GET", "/_models/a"), ("POST", "/_logging/feedback"), ("POST", "/_models"),
                                 ("DELETE", "/_models/a"), ("GET", "/"), ("GET", "/health/live"), ("HEAD", "/_models/data"),
                                 ("OPTIONS", "/_models"), ("GET", "/nothing")):
                self.assertEqual(self.given(own, origin, method, path), 403, (origin, method, path))
        self.assertEqual(asked, [], "nothing was done")
        for origin in ("https://a.example", f"http://{own}", f"https://{own}", None):
            self.assertEqual(self.given(own, origin), 404, origin)
        self.assertEqual(self.given(own, "https://a.example", more="Origin: https://evil.example\r\n"), 403)
        self.assertEqual(self.given(own, "https://evil.example", more="Origin: https://a.example\r\n"), 403)
        self.assertEqual(self.given(None, "https://evil.example"), 403)
        self.assertEqual(self.given(None, f"http://{own}"), 403, "without a Host nothing is its own")

    def test_a_key_does_not_help(self):
        """A browser sends what key it remembers along with whatever a page makes it send."""
        self.start(env={"METRICMQ_API_KEY": "k" * 16})
        key = "".join(f"{name}: {value}\r\n" for name, value in basic("k" * 16).items())
        self.assertEqual(self.given("localhost", more=key), 404)
        self.assertEqual(self.given("evil.example", more=key), 403)
        self.assertEqual(self.given("localhost", "https://evil.example", more=key), 403)
        self.assertEqual(self.given("evil.example"), 403, "before the key is looked at")


class Guesses(Adapter):
    """F45: wrong keys are 401, however many; from where too many come they wait, and a right one does not."""

    def connect(self, source):
        host, port = self.program.ready["http"].removeprefix("http://").rsplit(":", 1)
        peer = socket.create_connection((host, int(port)), timeout=30, source_address=(source, 0))
        self.addCleanup(peer.close)
        return peer

    @staticmethod
    def request(key, more=b""):
        return (b"GET /_models/a HTTP/1.1\r\nHost: localhost\r\nAuthorization: " + basic(key)["Authorization"].encode() +
                b"\r\n" + more + b"\r\n")

    def ask_on(self, peer, key, more=b""):
        """(status, seconds)"""
        began = time.monotonic()
        peer.sendall(self.request(key, more))
        answer = b""
        while not re.search(rb"\r\n\r\n\{.*\}$", answer, re.S):
            block = peer.recv(65536)
            self.assertTrue(block)
            answer += block
        return int(answer[9:12]), time.monotonic() - began

    def test_an_address_that_guesses_waits(self):
        key, admin = self.make("friend", "read"), self.make("admin", "admin")
        self.start("--api-keys", self.file)
        peers = [self.connect("127.0.0.2") for _ in range(4)]
        peers[0].sendall(b"".join(self.request("mmq_" + f"{i:064}") for i in range(20)))
        answers = b""
        while answers.count(b"the key is missing or wrong") < 20:
            answers += peers[0].recv(65536)
        self.assertEqual(answers.count(b"HTTP/1.1 401"), 20)
        began = time.monotonic()
        slow = [self.ask_on(peer, f"guess {i}") for i in range(3) for peer in peers]
        self.assertEqual([status for status, _ in slow], [401] * 12)
        self.assertGreater(time.monotonic() - began, 0.5)
        self.assertEqual(self.ask_on(peers[3], "guess", b"Expect: 100-continue\r\nContent-Length: 5\r\n")[0], 401)
        friend = self.connect("127.0.0.2")  # behind the same address
        self.assertEqual(self.ask_on(friend, key)[0], 404)
        other = self.connect("127.0.0.3")
        for peer, given, wanted in ((friend, key, 404), (other, key, 404), (other, "guess", 401)):
            status, seconds = self.ask_on(peer, given)
            self.assertEqual(status, wanted)
            self.assertLess(seconds, 5 if harness.SLOW else 0.09)
        self.line(r'level=warn role=http msg="wrong keys: too many for a line each" count=')
        lines = self.program.errors().count("status=401")
        self.assertLess(lines, 20 + 8, "the log has a line for each of the first only")
        self.assertEqual(self.ask_on(peers[0], key)[0], 404, "the connection that guessed goes on")
        metrics = self.ask("/metrics", admin)[1].decode()
        self.assertIn("\nmetricmq_http_wrong_keys_total 34\n", metrics)
        self.assertGreater(int(re.search(r"\nmetricmq_http_wrong_keys_held_total (\d+)\n", metrics).group(1)), 5)

    def test_who_leaves_or_stays_when_it_is_stopped(self):
        self.start(env={"METRICMQ_API_KEY": "k" * 16})
        request = self.request("x")
        peers = [self.connect("127.0.0.2") for _ in range(40)]
        for peer in peers:
            peer.sendall(request * 3)
        for peer in peers[:20]:
            peer.close()
        began = time.monotonic()
        self.program.stop()
        self.assertLess(time.monotonic() - began, 5)
        for peer in peers[20:]:
            answer = b""
            with contextlib.suppress(ConnectionResetError):
                while block := peer.recv(65536):
                    answer += block
            self.assertIn(answer[9:12], (b"401", b""))

    def test_memory_is_bounded(self):
        """Guesses from many addresses."""
        self.start("--connections-per-address", "0", env={"METRICMQ_API_KEY": "k" * 16})
        self.ask_on(self.connect("127.0.0.2"), "x")
        before = self.program.rss()
        for i in range(500):
            peer = self.connect(f"127.1.{i // 250}.{1 + i % 250}")
            self.assertEqual(self.ask_on(peer, "x")[0], 401)
            peer.close()
        self.assertLess(self.program.rss() - before, (64 if harness.SLOW else 4) << 20)


if __name__ == "__main__":
    harness.main()
