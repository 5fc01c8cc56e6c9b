"""Where the adapter listens: IPv6, TLS, a unix socket."""
import os
import pathlib
import socket
import ssl
import stat
import subprocess

import harness
from curl import curl, make_certificate


class Listen(harness.Case):
    def start(self, *args, http="127.0.0.1:0", wait=True):
        """The adapter alone; there is no broker."""
        return harness.Program("http", "--connect", "tcp://127.0.0.1:1", "--timeout", "1s", "--http", http, *args,
                               wait=wait)

    def refused(self, *args, http="127.0.0.1:0"):
        done = harness.run("http", "--http", http, *args, check=False)
        self.assertEqual((done.returncode, len(done.err.splitlines())), (2, 1), done.err)
        return done.err

    def test_ipv6(self):
        with self.start(http="[::1]:0") as program:
            self.assertRegex(program.ready["http"], r"^http://\[::1\]:\d+$")
            self.assertEqual(curl(program, "/health/live", "-g").status, 200)
            harness.wait_until(lambda: "address=::1 " in program.errors(), what="the line")


class Unix(Listen):
    def setUp(self):
        super().setUp()
        self.path = self.folder / "http"

    def test_socket(self):
        old = os.umask(0o077)
        try:
            program = self.start(http=f"unix:{self.path}")
        finally:
            os.umask(old)
        with program:
            self.assertEqual(program.ready["http"], f"unix:{self.path}")
            mode = self.path.stat().st_mode
            self.assertTrue(stat.S_ISSOCK(mode))
            self.assertEqual(stat.S_IMODE(mode), 0o660)
            answer = curl(program, "/health/live")
            self.assertEqual((answer.status, answer.body), (200, b'{"status": "ok"}'))
            self.assertEqual(curl(program, "/nothing").status, 404)
            harness.wait_until(lambda: "address=unix " in program.errors(), what="the line")
            said = self.refused(http=f"unix:{self.path}")
            self.assertIn("in use", said)
        self.assertFalse(self.path.exists())

    def test_stale_socket_is_replaced(self):
        program = self.start(http=f"unix:{self.path}")
        program.kill()
        self.assertTrue(self.path.exists())
        with self.start(http=f"unix:{self.path}") as program:
            self.assertEqual(curl(program, "/health/live").status, 200)
        self.assertFalse(self.path.exists())

    def test_what_is_no_socket_stays(self):
        for make in (lambda: self.path.write_text("x"), lambda: self.path.symlink_to("/nowhere"), self.path.mkdir):
            make()
            self.refused(http=f"unix:{self.path}")
            self.assertTrue(self.path.is_symlink() or self.path.exists())
            (self.path.rmdir if self.path.is_dir() else self.path.unlink)()
        self.assertIn("path", self.refused(http="unix:"))
        self.assertIn("path", self.refused(http="unix:/" + "x" * 200))
        self.refused(http=f"unix:{self.folder}/no/where")

    def test_another_s_socket_is_not_removed(self):
        with self.start(http=f"unix:{self.path}"):
            self.path.unlink()
            other = socket.socket(socket.AF_UNIX)
            self.addCleanup(other.close)
            other.bind(str(self.path))
        self.assertTrue(self.path.exists())


class Tls(Listen):
    def setUp(self):
        super().setUp()
        self.certificate = make_certificate(self.folder)
        self.key = self.folder / "key.pem"
        self.args = ("--tls-cert", self.certificate, "--tls-key", self.key)

    def test_https(self):
        with self.start(*self.args) as program:
            self.assertRegex(program.ready["http"], r"^https://127.0.0.1:\d+$")
            for version in ("--tlsv1.2", "--tlsv1.3"):
                answer = curl(program, "/health/live", "--cacert", self.certificate, version, "--tls-max",
                              version.removeprefix("--tlsv"))
                self.assertEqual((answer.exit, answer.status, answer.body), (0, 200, b'{"status": "ok"}'))
            self.assertEqual(curl(program, "/health/live").exit, 60, "an unknown certificate")
            self.assertNotEqual(curl(program.ready["http"].replace("https", "http"), "/health/live").exit, 0)

    def test_old_versions_are_refused(self):
        with self.start(*self.args) as program:
            port = program.ready["http"].rsplit(":", 1)[1]
            for version in ("-tls1", "-tls1_1"):
                done = subprocess.run(["openssl", "s_client", version, "-cipher", "DEFAULT@SECLEVEL=0", "-connect",
                                       f"127.0.0.1:{port}"], input=b"", capture_output=True, timeout=30)
                self.assertNotEqual(done.returncode, 0, version)
            done = subprocess.run(["openssl", "s_client", "-tls1_2", "-connect", f"127.0.0.1:{port}"], input=b"",
                                  capture_output=True, timeout=30)
            self.assertEqual(done.returncode, 0, done.stderr)

    def test_last_words_are_in_tls(self):
        """What is said before a request has ended (408, 413) does not go out in the clear."""
        with self.start(*self.args, "--header-timeout", "1s") as program:
            port = int(program.ready["http"].rsplit(":", 1)[1])
            context = ssl.create_default_context(cafile=self.certificate)
            with context.wrap_socket(socket.create_connection(("127.0.0.1", port)), server_hostname="127.0.0.1") as peer:
                peer.settimeout(30)
                peer.sendall(b"GET / HTTP/1.1\r\nX: ")
                self.assertEqual(peer.recv(65536)[:12], b"HTTP/1.1 408")
                self.assertEqual(peer.recv(65536), b"")
            with context.wrap_socket(socket.create_connection(("127.0.0.1", port)), server_hostname="127.0.0.1") as peer:
                peer.settimeout(30)
                peer.sendall(b"POST /_logging/feedback HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9000000\r\n\r\n")
                for _ in range(130):
                    peer.sendall(b" " * 65536)
                self.assertEqual(peer.recv(65536)[:12], b"HTTP/1.1 413")

    def test_bad_files(self):
        other = self.folder / "other"
        other.mkdir()
        make_certificate(other)
        empty, text = self.folder / "empty", self.folder / "text"
        empty.write_text("")
        text.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
        locked = self.folder / "locked.pem"
        subprocess.run(["openssl", "ec", "-in", self.key, "-out", locked, "-aes128", "-passout", "pass:x"], check=True,
                       capture_output=True)
        for certificate, key, says in ((self.certificate, other / "key.pem", "is not that of"),
                                       (self.folder / "none", self.key, "none: No such file"),
                                       (self.certificate, self.folder / "none", "none: No such file"),
                                       (empty, self.key, "holds no certificate"), (text, self.key, "holds no certificate"),
                                       (self.certificate, empty, "holds no key"),
                                       (self.certificate, locked, "without a passphrase"),
                                       (self.folder, self.key, "cannot read")):
            self.assertIn(says, self.refused("--tls-cert", certificate, "--tls-key", key))
        self.assertIn("go together", self.refused("--tls-cert", self.certificate))
        self.assertIn("go together", self.refused("--tls-key", self.key))

    def test_linked_certificate(self):
        link = self.folder / "link.pem"
        link.symlink_to(pathlib.Path("cert.pem"))
        with self.start("--tls-cert", link, "--tls-key", self.key) as program:
            self.assertEqual(curl(program, "/health/live", "--cacert", self.certificate).status, 200)

    def test_unix_and_tls(self):
        with self.start(*self.args, http=f"unix:{self.folder}/http") as program:
            done = subprocess.run(["curl", "-sS", "--unix-socket", self.folder / "http", "--cacert", self.certificate,
                                   "https://localhost/health/live"], capture_output=True, timeout=60)
            self.assertEqual(done.stdout, b'{"status": "ok"}', done.stderr)
            self.assertEqual(program.ready["http"], f"unix:{self.folder}/http")


if __name__ == "__main__":
    harness.main()
