"""The adapter, broker and workers as processes of their own: the bus dies in the middle of an answer (F44)."""
import json
import re
import socket

import bus
import harness


class Roles(harness.Case):
    def setUp(self):
        super().setUp()
        self.store = f"sqlite:{self.folder}/m.db"
        self.broker = harness.Program("broker", "--bind", harness.LOCAL, "--bind-workers", harness.LOCAL)
        self.addCleanup(self.broker.kill)
        workers = self.broker.ready["workers"]
        self.workers = {}
        for kind in ("write", "query"):
            self.workers[kind] = worker = harness.Program("worker", kind, "--connect", workers, "--store", self.store,
                                     "--data", self.folder)
            self.addCleanup(worker.stop)
        self.clients = self.broker.ready["clients"]
        self.http = harness.Program("http", "--connect", self.clients, "--http", "127.0.0.1:0", "--timeout", "3s")
        self.addCleanup(self.http.stop)
        harness.run("demo", "--connect", self.clients, "--metrics", "10", "--rows", "20000")

    def test_traces(self):
        """Both ends of the bus log a request under one name; who sends no trace is not logged by a worker."""
        self.assertEqual(harness.http_get(self.http, "/_models/nobody")[0], 404)
        line = harness.wait_until(lambda: re.search(r"path=/_models/nobody .* trace=(\S+)", self.http.errors()),
                                  what="the adapter's line")
        with bus.Bus(self.clients) as client:
            client.call("metric.query", {"op": "stats", "trace": "t-query"})
            with self.assertRaises(bus.Refused):
                client.call("metric.write", {"op": "delete", "uid": "nobody", "trace": "t-write"})
        for kind, trace, status in (("query", line.group(1), 404), ("query", "t-query", 200),
                                    ("write", "t-write", 404)):
            wanted = f"service=metric.{kind} status={status} trace={trace}\n"
            harness.wait_until(lambda: wanted in self.workers[kind].errors(), what=wanted)
        self.assertEqual(self.workers["write"].errors().count("request answered"), 1)

    def test_broker_dies(self):
        status, _, body = harness.http_get(self.http, "/health/ready")
        self.assertEqual((status, json.loads(body)), (503, {"result": "no worker for metric.feedback"}))
        host, port = self.http.ready["http"].removeprefix("http://").rsplit(":", 1)
        whole = json.loads(harness.http_get(self.http, "/_models/data?anomaly=-1")[2])
        self.assertEqual([len(one["data"]) for one in whole["metrics"]], [20000] * 10)
        readers = [self.begin(version) for version in (b"1.0", b"1.1")]
        self.broker.kill()
        for reader in readers:
            with self.assertRaises(ConnectionResetError):
                while reader.recv(65536):
                    pass
        status, _, body = harness.http_get(self.http, "/health/ready")
        self.assertEqual((status, json.loads(body)), (503, {"result": "the broker does not answer"}))
        status, _, body = harness.http_get(self.http, "/_models/data")
        self.assertIn(status, (503, 504))
        self.assertEqual(harness.http_get(self.http, "/health/live")[0], 200)

    def begin(self, version):
        """A connection that has read the first bytes of a big answer, and no more."""
        host, port = self.http.ready["http"].removeprefix("http://").rsplit(":", 1)
        reader = socket.socket()
        self.addCleanup(reader.close)
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        reader.settimeout(60)
        reader.connect((host, int(port)))
        reader.sendall(b"GET /_models/data?anomaly=-1 HTTP/" + version + b"\r\nHost: localhost\r\n\r\n")
        self.assertTrue(reader.recv(4096))
        return reader


if __name__ == "__main__":
    harness.main()
