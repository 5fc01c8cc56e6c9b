"""What a stream may cost: memory that does not grow with rows, readers that stop, SIGTERM amid one."""
import contextlib
import os
import socket
import subprocess
import time
import unittest

import bus
import harness

MIB = 1 << 20
# Rows of the smaller and the larger store. METRICMQ_MEMORY_ROWS=10000000 measures the full size.
LARGE = int(os.environ.get("METRICMQ_MEMORY_ROWS", 100_000 if harness.SLOW else 1_000_000))


def raw_get(program, path, version="1.1", headers=""):
    """A socket with the request sent and nothing read."""
    host, port = program.ready["http"].removeprefix("http://").rsplit(":", 1)
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    connection.connect((host, int(port)))
    connection.sendall(f"GET {path} HTTP/{version}\r\nHost: {host}\r\n{headers}\r\n".encode())
    return connection


class Limits(harness.Case):
    def demo(self, program, metrics, rows):
        harness.run("demo", "--connect", program.ready["clients"], "--metrics", metrics, "--rows", rows, timeout=1200)

    def curl(self, program, path, *args):
        done = subprocess.run(["curl", "-sS", "-o", "/dev/null", "-w", "%{http_code} %{size_download}", *args,
                               program.ready["http"] + path], capture_output=True, text=True, timeout=1200)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout.split()

    def peak_over_start(self, program, path, *args):
        program.reset_peak()
        start = program.rss()
        code, size = self.curl(program, path, *args)
        self.assertEqual(code, "200")
        return program.peak() - start, int(size)

    @unittest.skipIf(harness.SLOW, "sanitizers keep freed memory")
    def test_memory_does_not_grow_with_rows(self):
        metrics = 100
        for rows in (LARGE // 10, LARGE):
            data = self.folder / f"data-{rows}"
            with harness.up(data) as program:
                self.demo(program, metrics, rows // metrics)
            for name, path, args in (("msgpack", "/_models/data?anomaly=-1", ("-H", "Accept: application/octet-stream")),
                                     ("json", "/_models/data?anomaly=-1", ())):
                with harness.up(data) as program:
                    grown, size = self.peak_over_start(program, path, *args)
                print(f"{rows} rows as {name}: {size} bytes, peak {grown / MIB:.1f} MiB over start", flush=True)
                self.assertLess(grown, 64 * MIB)

    def test_a_reader_that_stops_costs_two_pages(self):
        with harness.up(self.folder / "data") as program:
            self.demo(program, 10, 40_000)
            self.curl(program, "/_models/data?anomaly=-1", "-H", "Accept: application/octet-stream")
            start = program.rss()
            with contextlib.ExitStack() as stack:
                for _ in range(10):
                    stalled = stack.enter_context(raw_get(program, "/_models/data?anomaly=-1",
                                                          headers="Accept: application/octet-stream\r\n"))
                    self.assertTrue(stalled.recv(1000))
                code, size = self.curl(program, "/_models/data?anomaly=-1", "-H", "Accept: application/octet-stream")
                self.assertEqual(code, "200")
                if not harness.SLOW:
                    self.assertLess(program.rss() - start, 10 * 2.5 * MIB + 8 * MIB)
                # one that goes on reads the whole stream
                last = stack.enter_context(raw_get(program, "/_models/data?anomaly=-1", "1.0",
                                                   "Accept: application/octet-stream\r\n"))
                text = b"".join(iter(lambda: last.recv(1 << 20), b""))
                self.assertEqual(len(text.split(b"\r\n\r\n", 1)[1]), int(size))

    def test_sigterm_during_a_stream(self):
        """Whole or visibly broken, exit status 0, within the drain timeout."""
        for reads_on in (True, False):
            with self.subTest(reads_on=reads_on):
                program = harness.up(self.folder / f"data-{reads_on}", "--drain-timeout", "3s")
                self.demo(program, 10, 40_000)
                with raw_get(program, "/_models/data?anomaly=-1", "1.0") as stream:
                    self.assertTrue(stream.recv(1000))
                    began = time.monotonic()
                    program.signal(15)
                    if reads_on:
                        text = b"".join(iter(lambda: stream.recv(1 << 20), b""))
                        self.assertTrue(text.endswith(b'"rowid"]}'), text[-100:])
                    program.stop(timeout=60 if harness.SLOW else 10)
                    if not harness.SLOW:
                        self.assertLess(time.monotonic() - began, 6)
                    if not reads_on:
                        with self.assertRaises(ConnectionResetError):
                            while stream.recv(1 << 20):
                                pass


if __name__ == "__main__":
    harness.main()
