"""CURVE on the bus: who gets in, what they may do, what becomes of keys that are revoked (F21)."""
import os
import pathlib
import re
import shutil
import signal
import stat

import bus_keys
import harness
import zmq
import zmq.auth

CLIENTS = [("reader", None), ("admin", "read,write,feedback,admin"), ("writer", "write"), ("none", "")]
WORKERS = [("query", "metric.query"), ("echo", "echo")]


class Keyed(harness.Case):
    """A broker with keys, and pyzmq's peers."""

    command, more = "broker", ()

    @classmethod
    def setUpClass(cls):
        cls.made = bus_keys.folder_of_keys(harness.temporary_folder(cls) / "made", CLIENTS, WORKERS)

    def setUp(self):
        super().setUp()
        self.keys = self.folder / "keys"
        shutil.copytree(self.made, self.keys)
        self.server, _ = zmq.auth.load_certificate(self.keys / "server.cert")
        self.program = self.enterContext(bus_keys.broker(self.keys, *self.more, command=self.command))
        self.clients, self.workers = self.program.ready["clients"], self.program.ready["workers"]

    def enterContext(self, context):
        value = context.__enter__()
        self.addCleanup(lambda: context.__exit__(None, None, None))
        return value

    def peer(self, endpoint, name=None, own=None, server=None):
        own = bus_keys.pair(self.keys / name) if name else own
        return self.enterContext(bus_keys.Peer(endpoint, own, server or self.server) if own else bus_keys.Peer(endpoint))

    def admin(self):
        return self.peer(self.clients, "clients/admin")

    def failures(self, side):
        """Handshakes that failed there so far, as the broker counts them."""
        return self.admin().stats()[f"{side}_handshakes_failed"]

    def refused(self, side, logged, **peer):
        """Such a peer does not get in, whatever it sends; it is counted and logged.

        Who reads the other's greeting first hangs up first. If that is the peer, all that the broker sees is a
        connection that ended, which it counts and does not log: so others come until one has been told of.
        """
        before = self.failures(side)
        endpoint = self.clients if side == "client" else self.workers

        def told():
            with self.peer(endpoint, **peer) as stranger:
                if side == "client":
                    stranger.ask("mmi.service", b"metric.query")
                else:
                    stranger.say(b"\x01", b"metric.query")
                self.assertFalse(stranger.ends(), stranger.seen)
                self.assertNotIn("HANDSHAKE_SUCCEEDED", stranger.seen)
            return self.failures(side) > before and logged in self.program.errors()

        harness.wait_until(told, what=f"the count, and a line of the log: {logged}")

    def reload(self):
        lines = self.program.errors().count("read again")
        self.program.signal(signal.SIGHUP)
        harness.wait_until(lambda: self.program.errors().count("read again") > lines, what="the lists to be read again")


class F21(Keyed):
    def test_f21_a_key_in_the_list_gets_in(self):
        client = self.peer(self.clients, "clients/reader")
        self.assertEqual(client.mmi("mmi.service", b"metric.query"), [b"404"])
        self.assertEqual(client.seen, [])
        self.assertTrue(client.ends())

    def test_f21_wrong_server_key(self):
        """Who stands in the broker's place gets nothing from a client, and the broker nothing from his."""
        other, _ = zmq.curve_keypair()
        self.refused("client", "another server's key", name="clients/reader", server=other)
        self.refused("worker", "another server's key", name="workers/query", server=other)

    def test_f21_unknown_client_key(self):
        self.refused("client", "its key is not in the list", own=zmq.curve_keypair())
        self.refused("worker", "its key is not in the list", own=zmq.curve_keypair())

    def test_f21_plain_client_on_a_curve_port(self):
        self.refused("client", "peers without CURVE")
        self.refused("worker", "peers without CURVE")

    def test_f21_a_clients_key_on_the_workers_port(self):
        self.refused("worker", "its key is not in the list", name="clients/admin")
        self.refused("client", "its key is not in the list", name="workers/query")

    def test_f21_revoked_key(self):
        client, worker = self.peer(self.clients, "clients/reader"), self.peer(self.workers, "workers/query")
        worker.say(b"\x01", b"metric.query")
        harness.wait_until(lambda: client.mmi("mmi.service", b"metric.query") == [b"200"], what="the worker")
        (self.keys / "clients/reader.cert").unlink()
        (self.keys / "workers/query.cert").unlink()
        self.assertEqual(client.mmi("mmi.service", b"metric.query"), [b"200"])  # not before SIGHUP
        self.reload()
        # The connections live, and are of no use any more: the next message is refused, the worker leaves at once.
        self.assertEqual(client.mmi("mmi.service", b"metric.query"), [b"403"])
        header = client.call("metric.query", {"op": "stats"})
        self.assertEqual((header["status"], header["id"]), (403, 1))
        self.assertIn("not in the broker's list", header["error"])
        while (command := worker.receive()[1]) != b"\x06":
            self.assertEqual(command, b"\x05")
        self.assertEqual(self.admin().mmi("mmi.service", b"metric.query"), [b"404"])
        worker.say(b"\x01", b"metric.query")
        self.assertEqual(worker.receive(), [b"MDPW02", b"\x06"])
        self.assertEqual(self.admin().stats()["dropped"]["denied"], 4)
        harness.wait_until(lambda: "in the list no more" in self.program.errors(), what="a line of the log")
        # And nobody comes in with them again.
        self.refused("client", "its key is not in the list", name="clients/reader")
        self.refused("worker", "its key is not in the list", name="workers/query")

    def test_f21_ours_do_not_fall_back_to_plain(self):
        """Our clients and workers with keys, at a broker without them and at one with other keys."""
        other = self.folder / "other"
        bus_keys.keygen(other, "server")
        wrong = ("--curve-key", self.keys / "clients/admin.cert_secret", "--curve-server", other / "server.cert")
        with harness.Program("broker", "--bind", harness.LOCAL, "--bind-workers", harness.LOCAL) as plain:
            for endpoint, keys in ((plain.ready["clients"], bus_keys.options(self.keys, "clients/admin")),
                                   (self.clients, wrong), (self.clients, ())):
                done = harness.run("status", "--connect", endpoint, "--timeout", "500ms", *keys, check=False)
                self.assertEqual(done.returncode, 1, done.err)
                self.assertIn("ends the handshake", done.err)
            worker = harness.Program("load", "--clients", "0", "--workers", "1", "--service", "echo",
                                     "--connect-workers", plain.ready["workers"],
                                     *bus_keys.options(self.keys, "workers/echo"), wait=False)
            client = bus_keys.Peer(plain.ready["clients"])
            with client:
                harness.wait_until(lambda: client.stats()["worker_handshakes_failed"] >= 2, what="its attempts")
                self.assertEqual(client.stats()["workers"], [])
            worker.signal(signal.SIGTERM)
            worker.process.wait()
            worker.close()


class Rights(Keyed):
    def test_rights_of_clients_go_by_service(self):
        for name, allowed in (("reader", {"metric.query"}), ("writer", {"metric.write"}), ("none", set()),
                              ("admin", {"metric.query", "metric.write", "metric.feedback", "mmi.stats", "other"})):
            peer = self.peer(self.clients, f"clients/{name}")
            for service in ("metric.query", "metric.write", "metric.feedback", "other"):
                header = peer.call(service, {"op": "x", "timeout": 50})  # 503: there is no worker
                self.assertEqual(header["status"], 503 if service in allowed else 403, (name, service, header))
                self.assertTrue(header["error"])
            self.assertEqual(peer.mmi("mmi.stats")[0], b"200" if "mmi.stats" in allowed else b"403")
            self.assertEqual(peer.mmi("mmi.service", b"x")[0], b"404" if allowed else b"403")

    def test_a_worker_may_serve_what_its_certificate_says(self):
        for service, welcome in ((b"metric.query", True), (b"metric.write", False), (b"echo", False)):
            worker = self.peer(self.workers, "workers/query")
            worker.say(b"\x01", service)
            if welcome:
                harness.wait_until(lambda: self.admin().mmi("mmi.service", service) == [b"200"], what="the worker")
            else:
                self.assertEqual(worker.receive(), [b"MDPW02", b"\x06"])
                self.assertEqual(self.admin().mmi("mmi.service", service), [b"404"])
        self.assertIn("no right to that", self.program.errors())

    def test_a_broken_list_changes_nothing(self):
        client = self.peer(self.clients, "clients/reader")
        self.assertEqual(client.mmi("mmi.service", b"x"), [b"404"])
        (self.keys / "clients/reader.cert").unlink()
        (self.keys / "clients/slip.cert").write_text("curve\n    public-key = \"short\"\n")
        self.program.signal(signal.SIGHUP)
        harness.wait_until(lambda: "they stay as they were" in self.program.errors(), what="a line of the log")
        self.assertIn("slip.cert: line 2", self.program.errors())
        self.assertEqual(client.mmi("mmi.service", b"x"), [b"404"])
        (self.keys / "clients/slip.cert").unlink()
        self.reload()
        self.assertEqual(client.mmi("mmi.service", b"x"), [b"403"])

    def test_a_key_is_let_in_by_sighup(self):
        bus_keys.keygen(self.keys, "client", "late", "--rights", "", "--services", "echo")
        self.refused("client", "its key is not in the list", name="clients/late")
        self.reload()
        late = self.peer(self.clients, "clients/late")
        self.assertEqual(late.call("echo", {"timeout": 50})["status"], 503)
        self.assertEqual(late.call("metric.query", {"timeout": 50})["status"], 403)

    def test_secrets_are_not_told(self):
        """Not in the log of a broker that says all, not in what keygen prints, not in arguments."""
        self.refused("client", "its key is not in the list", own=zmq.curve_keypair())
        said = self.program.errors() + bus_keys.keygen(self.keys, "client", "quiet").out + str(self.program.args)
        for path in self.keys.rglob("*.cert_secret"):
            _, secret = zmq.auth.load_certificate(path)
            self.assertNotIn(secret.decode(), said)


class Up(Keyed):
    """All roles in one process: over inproc they have all rights, from outside keys count."""

    command = "up"

    def setUp(self):
        self.data = harness.temporary_folder(type(self)) / self.id()
        self.more = ("--data", self.data)
        super().setUp()

    def run_as(self, name, *args, check=True):
        return harness.run(*args, "--connect", self.clients, *bus_keys.options(self.keys, f"clients/{name}"), check=check)

    def test_commands_and_the_adapter(self):
        self.run_as("admin", "demo", "--metrics", 2, "--rows", 50)
        table = self.run_as("reader", "query", "--anomaly=-1", "--format", "csv").out
        self.assertEqual(len(table.splitlines()), 101)
        self.assertIn("metric.query", self.run_as("admin", "status").out)
        self.assertEqual(harness.http_get(self.program, "/_models")[0], 200)
        exposed = harness.http_get(self.program, "/metrics")[2].decode()
        self.assertIn("metricmq_broker_client_handshakes_failed_total 0", exposed)
        denied = self.run_as("reader", "demo", "--metrics", 1, "--rows", 1, check=False)
        self.assertEqual(denied.returncode, 1)
        self.assertIn("no right", denied.err)
        nothing = self.run_as("none", "models", check=False)
        self.assertEqual(nothing.returncode, 1)
        self.assertIn("has no rights", nothing.err)
        denials = re.compile(rb'dropped_total\{reason="denied"\} [1-9]')
        harness.wait_until(lambda: denials.search(harness.http_get(self.program, "/metrics")[2]), what="the count")

    def test_an_adapter_and_workers_of_their_own(self):
        """Each role as a process, with its own key; `up` here is only their store's writer."""
        adapter = harness.Program("http", "--http", "127.0.0.1:0", "--connect", self.clients,
                                  *bus_keys.options(self.keys, "clients/admin"))
        query = harness.Program("worker", "query", "--connect", self.workers, "--data", self.data,
                                *bus_keys.options(self.keys, "workers/query"))
        with adapter, query:
            admin = self.admin()
            harness.wait_until(lambda: admin.stats()["services"]["metric.query"]["workers"] == 2, what="the worker")
            harness.wait_until(lambda: harness.http_get(adapter, "/_models")[0] == 200, what="the adapter")
            (self.keys / "workers/query.cert").unlink()
            self.reload()
            harness.wait_until(lambda: admin.stats()["services"]["metric.query"]["workers"] == 1, what="its end")


class Usage(harness.Case):
    def refused(self, wanted, *args, **options):
        done = harness.run(*args, check=False, **options)
        self.assertEqual(done.returncode, 2, done.err)
        self.assertEqual(len(done.err.splitlines()), 1, done.err)
        self.assertIn(wanted, done.err)

    def test_plain_text_to_other_machines_wants_insecure(self):
        for endpoint in ("tcp://0.0.0.0:*", "tcp://*:*", "tcp://[::]:*", "tcp://127.0.0.1.example.org:5750", "tcp://lo:*",
                         "tcp://10.0.0.1:5750"):
            for flags in (("--bind", endpoint, "--bind-workers", harness.LOCAL),
                          ("--bind", harness.LOCAL, "--bind-workers", endpoint)):
                self.refused("--curve DIR", "broker", *flags)
                self.refused("--insecure", "broker", *flags)
        self.refused("--insecure", "up", "--data", self.folder / "data", "--bind", "tcp://0.0.0.0:*")
        with harness.Program("broker", "--bind", "tcp://0.0.0.0:*", "--bind-workers", "ipc://" + str(self.folder / "w"),
                             "--insecure"):
            pass
        keys = bus_keys.folder_of_keys(self.folder / "keys", [("all", "read,write,feedback,admin")])
        with harness.Program("broker", "--bind", "tcp://0.0.0.0:*", "--bind-workers", "tcp://0.0.0.0:*",
                             "--curve", keys) as program:
            port = program.ready["clients"].rsplit(":", 1)[1]
            self.refused_or_served(port, keys)

    def refused_or_served(self, port, keys):
        server, _ = zmq.auth.load_certificate(keys / "server.cert")
        with bus_keys.Peer(f"tcp://127.0.0.1:{port}", bus_keys.pair(keys / "clients/all"), server) as peer:
            self.assertEqual(peer.mmi("mmi.service", b"x"), [b"404"])

    def test_keygen_makes_private_files_and_overwrites_none(self):
        keys = self.folder / "keys"
        os.umask(0)
        self.addCleanup(os.umask, 0o022)
        self.assertIn("stays here", bus_keys.keygen(keys, "server").out)
        bus_keys.keygen(keys, "client", "a", "--rights", "read,admin")
        bus_keys.keygen(keys, "worker", "a")
        files = sorted(path for path in keys.rglob("*") if path.is_file())
        self.assertEqual([str(path.relative_to(keys)) for path in files],
                         ["clients/a.cert", "clients/a.cert_secret", "server.cert", "server.cert_secret",
                          "workers/a.cert", "workers/a.cert_secret"])
        for path in keys.rglob("*"):
            self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o600 if path.is_file() else 0o700, path)
        self.assertEqual(stat.S_IMODE(keys.stat().st_mode), 0o700)
        before = {path: path.read_bytes() for path in files}
        for args in (("server",), ("client", "a"), ("worker", "a")):
            done = harness.run("keygen", "--curve", keys, *args, check=False)
            self.assertEqual(done.returncode, 1)
            self.assertIn("is there already", done.err)
        (keys / "clients/a.cert_secret").unlink()  # both halves or none
        self.assertEqual(harness.run("keygen", "--curve", keys, "client", "a", check=False).returncode, 1)
        self.assertFalse((keys / "clients/a.cert_secret").exists())
        for path, data in before.items():
            self.assertTrue(not path.exists() or path.read_bytes() == data)

    def test_certificates_are_what_others_read_and_write(self):
        keys = bus_keys.folder_of_keys(self.folder / "keys", [("ours", "read")])
        public, secret = zmq.auth.load_certificate(keys / "clients/ours.cert_secret")
        self.assertEqual(zmq.curve_public(secret), public)
        self.assertEqual(zmq.auth.load_certificate(keys / "clients/ours.cert"), (public, None))
        theirs, their_secret = map(pathlib.Path, zmq.auth.create_certificates(keys, "theirs", {"rights": "read"}))
        listed = theirs.read_text()  # pyzmq writes metadata into the secret half only
        (keys / "clients/theirs.cert").write_text(listed.replace("metadata\n", "metadata\n    rights = \"read\"\n"))
        their_secret.chmod(0o600)
        with bus_keys.broker(keys) as program:
            done = harness.run("models", "--connect", program.ready["clients"], "--timeout", "200ms",
                               "--curve-key", their_secret, "--curve-server", keys / "server.cert", check=False)
            self.assertRegex(done.err, "no worker|timeout")

    def test_mistakes_are_told(self):
        keys = bus_keys.folder_of_keys(self.folder / "keys", [("a", "read")])
        plain = ("--bind", harness.LOCAL, "--bind-workers", harness.LOCAL)
        self.refused("no such folder", "broker", *plain, "--curve", self.folder / "nowhere")
        for path, fault in (("server.cert_secret", "garbage"), ("clients/a.cert", "garbage")):
            good = (keys / path).read_text()
            (keys / path).write_text(fault)
            self.refused(path.rsplit("/")[-1] + ": line 1", "broker", *plain, "--curve", keys)
            (keys / path).write_text(good)
        os.chmod(keys / "server.cert_secret", 0o644)
        self.refused("chmod 600", "broker", *plain, "--curve", keys)
        self.refused("want each other", "status", "--curve-key", keys / "clients/a.cert_secret")
        self.refused("want each other", "worker", "query", "--curve-server", keys / "server.cert")
        self.refused("No such file", "http", "--curve-key", keys / "x", "--curve-server", keys / "server.cert")
        self.refused("no secret key", "status", "--curve-key", keys / "clients/a.cert", "--curve-server",
                     keys / "server.cert")
        self.refused("wants --curve DIR", "keygen", "server")
        for args, wanted in ((("host",), "one of server"), (("client",), "one of server"), (("server", "x"), "one of"),
                             (("client", "../x"), "a name has"), (("client", ".x"), "a name has"),
                             (("client", "b", "--rights", "root"), "one or more of read"),
                             (("worker", "b", "--rights", "read"), "a client's"),
                             (("worker", "b", "--services", "mmi.x"), "can be no service"),
                             (("server", "--services", "x"), "a client's or a worker's")):
            self.refused(wanted, "keygen", "--curve", keys, *args)
        self.assertEqual(sorted(path.name for path in (keys / "clients").iterdir()), ["a.cert", "a.cert_secret"])


del Keyed  # no tests of its own

if __name__ == "__main__":
    harness.main()
