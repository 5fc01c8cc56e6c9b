"""Stock MDP/0.2 peers and hostile bytes against `metricmq broker`."""
import contextlib
import unittest

import msgpack

import harness
import mdp
import zmtp
from harness import wait_until


def error_of(frames):
    """Status and sentence of an answer that the broker made."""
    header = msgpack.unpackb(frames[0])
    assert len(frames) == 1, frames
    return header["status"], header["error"], header["id"]


class Broker(unittest.TestCase):
    def setUp(self):
        self.holder = contextlib.ExitStack()
        self.program = self.holder.enter_context(
            harness.Program("broker", "--bind", harness.LOCAL, "--bind-workers", harness.LOCAL))
        self.clients, self.workers = self.program.ready["clients"], self.program.ready["workers"]

    def tearDown(self):
        self.holder.close()

    def client(self, **options):
        return self.holder.enter_context(mdp.Client(self.clients, **options))

    def worker(self, service, *args, **options):
        known = self.client()
        worker = self.holder.enter_context(mdp.Worker(self.workers, service, *args, **options))
        wait_until(lambda: known.call(b"mmi.service", service) == [[b"200"]], what="the worker")
        return worker

    def stats(self, client):
        parts = client.call(b"mmi.stats", b"")
        self.assertEqual(parts[0][0], b"200")
        return msgpack.unpackb(parts[0][1])


class Stock(Broker):
    def test_echo_of_many_frames(self):
        self.worker(b"echo")
        client = self.client()
        for body in ([b""], [b"one"], [b"a", b"", b"c" * 100000], [bytes([n]) for n in range(40)]):
            self.assertEqual(client.call(b"echo", *body), [body])

    def test_partials_come_in_order(self):
        self.worker(b"count", lambda body: [[b"%d" % n] for n in range(int(body[0]))])
        parts = self.client().call(b"count", b"100")
        self.assertEqual(parts, [[b"%d" % n] for n in range(100)])

    def test_f23_a_thousand_requests_at_once(self):
        self.worker(b"echo")
        self.worker(b"echo")
        client = self.client()
        for n in range(1000):
            client.send(b"echo", msgpack.packb({"op": "x", "id": n}))
        ids = [msgpack.unpackb(client.receive()[2][0])["id"] for _ in range(1000)]
        self.assertEqual(sorted(ids), list(range(1000)))

    def test_f25_no_worker(self):
        status, error, id_ = error_of(self.client().call(
            b"nobody", msgpack.packb({"id": "x", "timeout": 50}))[0])
        self.assertEqual((status, id_), (503, "x"))
        self.assertIn("no worker", error)

    def test_queued_until_a_worker_comes(self):
        client = self.client()
        client.send(b"late", b"body")
        self.worker(b"late")
        self.assertEqual(client.receive()[2], [b"body"])

    def test_f13_a_name_that_holds_mmi(self):
        self.worker(b"foo.mmi.x")
        self.assertEqual(self.client().call(b"foo.mmi.x", b"1"), [[b"1"]])

    def test_two_services(self):
        self.worker(b"up", lambda body: [[body[0].upper()]])
        self.worker(b"twice", lambda body: [[body[0] * 2]])
        client = self.client()
        self.assertEqual(client.call(b"up", b"ab"), [[b"AB"]])
        self.assertEqual(client.call(b"twice", b"ab"), [[b"abab"]])

    def test_body_over_4_mib(self):
        status, _, id_ = error_of(self.client().call(
            b"echo", msgpack.packb({"id": 5, "x": bytes(5 << 20)}))[0])
        self.assertEqual((status, id_), (413, 5))

    def test_worker_leaves(self):
        worker = mdp.Worker(self.workers, b"brief")
        client = self.client()
        wait_until(lambda: client.call(b"mmi.service", b"brief") == [[b"200"]])
        worker.stop()
        wait_until(lambda: client.call(b"mmi.service", b"brief") == [[b"404"]])


class Mmi(Broker):
    def test_service(self):
        client = self.client()
        self.assertEqual(client.call(b"mmi.service", b"echo"), [[b"404"]])
        self.worker(b"echo")
        self.assertEqual(client.call(b"mmi.service", b"echo"), [[b"200"]])

    def test_unknown(self):
        self.assertEqual(self.client().call(b"mmi.nonsense", b""), [[b"501"]])

    def test_stats(self):
        self.worker(b"echo")
        client = self.client()
        client.call(b"echo", b"12345")
        stats = self.stats(client)
        echo = stats["services"]["echo"]
        self.assertEqual((echo["workers"], echo["capacity"], echo["requests"]), (1, 1, 1))
        self.assertEqual((echo["bytes_in"], echo["bytes_out"], echo["busy"]), (5, 5, 0))
        self.assertEqual(sum(count for _, count in echo["latency"]), 1)
        self.assertEqual([bound for bound, _ in echo["latency"]], [bound // 1000 for bound, _ in echo["took"]
                                                                   if bound >= 1000])
        for list in ("took", "waited"):
            self.assertEqual(sum(count for _, count in echo[list]), 1)
        self.assertLessEqual(echo["waited_us"], echo["took_us"])
        worker = stats["workers"][0]
        self.assertEqual([worker[key] for key in ("service", "name", "number", "capacity", "held", "requests")],
                         ["echo", "", 1, 1, 0, 1])
        self.assertLessEqual(worker["age_ms"], worker["ready_ms"])


class Hostile(Broker):
    """While it goes on, others are served."""

    def setUp(self):
        super().setUp()
        self.worker(b"echo")
        self.good = self.client()

    def served(self):
        self.assertEqual(self.good.call(b"echo", b"still"), [[b"still"]])

    def test_f15_messages_that_are_no_requests(self):
        bad = self.client()
        faults = [[b""], [mdp.CLIENT], [mdp.CLIENT, b"\x01"], [mdp.CLIENT, b"\x01", b"echo"],
                  [b"MDPC01", b"\x01", b"echo", b"x"], [mdp.CLIENT, b"\x09", b"echo", b"x"],
                  [mdp.CLIENT, b"", b"echo", b"x"], [mdp.CLIENT, b"\x02", b"echo", b"x"],
                  [mdp.CLIENT, b"\x01", b"", b"x"], [mdp.CLIENT, b"\x01", b"e" * 65536, b"x"],
                  [mdp.CLIENT, b"\x01", b"e\0o", b"x"], [mdp.CLIENT, b"\x01", b"\xff\xfe", b"x"]]
        for frames in faults:
            bad.socket.send_multipart(frames)
        wait_until(lambda: self.stats(self.good)["dropped"]["malformed"] >= len(faults))
        self.served()

    def test_f14_workers_that_break_the_protocol(self):
        for frames in ([mdp.WORKER, mdp.HEARTBEAT], [mdp.WORKER, mdp.FINAL, b"x", b"", b"y"],
                       [mdp.WORKER, mdp.READY, b"mmi.x"], [mdp.WORKER, b"\x63"], [b"MDPW01", b"\x01"]):
            with mdp.Client(self.workers) as bad:
                bad.socket.send_multipart(frames)
                self.assertTrue(bad.socket.poll(10000), frames)
                self.assertEqual(bad.socket.recv_multipart(), [mdp.WORKER, mdp.DISCONNECT])
        self.served()

    def test_f26_a_flood_is_answered_to_the_last(self):
        """10,000 wait and 10,000 are refused at once; who asked reads only afterwards. Each gets a FINAL."""
        count = 20_000
        with mdp.Client(self.clients) as flood:
            for number in range(count):
                body = msgpack.packb({"id": number, "timeout": 1500})
                flood.socket.send_multipart([mdp.CLIENT, b"\x01", b"nobody", body])
            statuses = {}
            while len(statuses) < count:
                self.assertTrue(flood.socket.poll(30_000), f"{len(statuses)} of {count} were answered")
                _, command, _, header = flood.socket.recv_multipart()
                header = msgpack.unpackb(header)
                self.assertEqual(command, b"\x03")
                self.assertNotIn(header["id"], statuses)
                statuses[header["id"]] = header["status"]
        self.assertEqual(set(statuses.values()), {503})
        self.served()

    def test_f12_a_second_ready(self):
        with mdp.Client(self.workers) as bad:
            for _ in range(2):
                bad.socket.send_multipart([mdp.WORKER, mdp.READY, b"twice"])
            self.assertTrue(bad.socket.poll(10000))
            self.assertEqual(bad.socket.recv_multipart(), [mdp.WORKER, mdp.DISCONNECT])
        self.assertEqual(self.good.call(b"mmi.service", b"twice"), [[b"404"]])

    def test_f16_a_message_of_many_frames(self):
        for dropped, endpoint in enumerate((self.clients, self.workers), 1):
            with mdp.Client(endpoint) as bad:
                bad.socket.send_multipart([mdp.CLIENT, b"\x01", b"echo"] + [b"x"] * 100000)
                wait_until(lambda: self.stats(self.good)["dropped"]["too_big"] == dropped)
        self.served()

    def test_f17_bytes_that_are_no_zmtp(self):
        seed = harness.seed()
        openings = [b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"]
        openings += [seed.randbytes(seed.randrange(1, 3000)) for _ in range(40)]
        openings += [zmtp.GREETING[:n] for n in range(len(zmtp.GREETING) + 1)]
        held = []
        for opening in openings:
            for endpoint in (self.clients, self.workers):
                peer = zmtp.connect(endpoint)
                with contextlib.suppress(OSError):
                    peer.sendall(opening)
                held.append(peer)
            self.served()
        for peer in held:
            peer.close()
        self.served()

    def test_f18_frame_lengths_beyond_reason(self):
        for length in (1 << 33, (1 << 63) - 1, (1 << 64) - 1, 32 << 20):
            for endpoint in (self.clients, self.workers):
                with zmtp.Raw(endpoint) as peer:
                    peer.socket.sendall(bytes([zmtp.LONG]) + length.to_bytes(8, "big") + b"x")
                    with self.assertRaises(ConnectionError):
                        while True:
                            peer.read()
        self.served()


if __name__ == "__main__":
    harness.main()
