"""What RFC 18 demands of a broker, a worker and a client, one by one: docs/protocol.md names these tests.

`metricmq broker` against peers that a test plays by hand; our query worker and our client against brokers that know
nothing of metricmq. test_mdp_broker.py has what a whole stock client or worker shows.
"""
import contextlib
import json
import os
import signal
import socket
import threading
import time

import msgpack

import fake_bus
import harness
import mdp
import test_mdp_broker
import zmtp
from harness import wait_until

CAPACITY = b"8"  # a READY with it gets a heartbeat a second


class OfTheBroker(test_mdp_broker.Broker):
    def hand(self, *ready):
        hand = self.holder.enter_context(mdp.Hand(self.workers))
        if ready:
            hand.say(mdp.READY, *ready)
        return hand

    def wait_workers(self, client, service, count):
        wait_until(lambda: self.stats(client)["services"].get(service, {}).get("workers", 0) == count,
                   what=f"{count} workers of {service}")

    def test_both_sockets_are_routers(self):
        for endpoint in (self.clients, self.workers):
            with zmtp.Raw(endpoint) as peer:
                self.assertIn(b"\x0bSocket-Type\x00\x00\x00\x06ROUTER", peer.peer_ready)

    def test_each_door_has_its_own_commands(self):
        """A worker's command is none at the clients' endpoint, and the other way round."""
        client = self.client()
        client.socket.send_multipart([mdp.WORKER, mdp.READY, b"stray"])
        wait_until(lambda: self.stats(client)["dropped"]["malformed"] == 1)
        self.assertEqual(client.call(b"mmi.service", b"stray"), [[b"404"]])
        with mdp.Client(self.workers) as stray:
            stray.send(b"mmi.service", b"stray")
            self.assertTrue(stray.socket.poll(10000))
            self.assertEqual(stray.socket.recv_multipart(), [mdp.WORKER, mdp.DISCONNECT])

    def test_nothing_follows_a_final(self):
        hand, client = self.hand(b"s", CAPACITY), self.client()
        client.send(b"s", b"one")
        address, _ = hand.take()
        for command in (mdp.PARTIAL, mdp.FINAL, mdp.PARTIAL, mdp.FINAL):
            hand.say(command, address, b"", b"of one")
        self.assertEqual([client.receive()[0] for _ in range(2)], [mdp.PARTIAL_OF_CLIENT, mdp.FINAL_OF_CLIENT])
        wait_until(lambda: self.stats(self.client())["dropped"]["late"] == 2)
        client.send(b"s", b"two")
        address, _ = hand.take()
        hand.say(mdp.FINAL, address, b"", b"of two")
        self.assertEqual(client.receive(), (mdp.FINAL_OF_CLIENT, b"s", [b"of two"]))

    def test_heartbeats_between_the_parts_of_an_answer(self):
        hand, client = self.hand(b"s", CAPACITY), self.client()
        hand.say(mdp.HEARTBEAT)
        client.send(b"s", b"x")
        address, _ = hand.take()
        for command in (mdp.PARTIAL, mdp.PARTIAL, mdp.FINAL):
            hand.say(mdp.HEARTBEAT)
            hand.say(command, address, b"", command)
        self.assertEqual([client.receive()[2] for _ in range(3)], [[mdp.PARTIAL], [mdp.PARTIAL], [mdp.FINAL]])

    def test_disconnect_before_ready(self):
        hand, client = self.hand(), self.client()
        hand.say(mdp.DISCONNECT)
        hand.say(mdp.READY, b"s", CAPACITY)
        client.send(b"s", b"x")
        address, body = hand.take()  # and no DISCONNECT before it
        self.assertEqual(body, [b"x"])
        hand.say(mdp.FINAL, address, b"", b"y")
        self.assertEqual(client.receive()[2], [b"y"])

    def test_nothing_follows_a_disconnect(self):
        """Neither to who said it nor to who was told: no heartbeat, no request, while another worker gets both."""
        client, leaves, breaks = self.client(), self.hand(b"s", CAPACITY), self.hand(b"s", CAPACITY)
        self.wait_workers(client, "s", 2)
        leaves.say(mdp.DISCONNECT)
        breaks.say(mdp.READY, b"s", CAPACITY)
        while (heard := breaks.hear())[0] != mdp.DISCONNECT:
            self.assertEqual(heard, (mdp.HEARTBEAT, []))
        self.wait_workers(client, "s", 0)
        while leaves.hear(0):  # what was sent before
            pass
        stays = self.hand(b"s", CAPACITY)
        heard, beaten = [], []
        for number in range(4):
            client.send(b"s", b"%d" % number)
        while len(beaten) < 3 or len(heard) < 4:
            command, frames = stays.hear()
            stays.say(mdp.HEARTBEAT)
            if command == mdp.HEARTBEAT:
                beaten.append(time.monotonic())
            else:
                heard.append(frames[2])
                stays.say(mdp.FINAL, frames[0], b"", frames[2])
        self.assertEqual(heard, [b"0", b"1", b"2", b"3"])
        for before, after in zip(beaten, beaten[1:]):
            self.assertLess(after - before, 4 if harness.SLOW else 2, "a heartbeat a second was agreed upon")
        self.assertIsNone(leaves.hear(0))
        self.assertIsNone(breaks.hear(0))

    def test_answers_that_are_not_addressed(self):
        """No address, no empty frame after it, two addresses: the worker is sent away, its request is another's."""
        client = self.client()
        faults = [lambda address: [], lambda address: [address, b""], lambda address: [b"", b"", b"y"],
                  lambda address: [address, b"y", b"z"], lambda address: [address, address, b"", b"y"],
                  lambda address: [bytes(256), b"", b"y"]]
        for fault in faults:
            bad = self.hand(b"s", CAPACITY)
            client.send(b"s", b"x")
            address, _ = bad.take()
            bad.say(mdp.FINAL, *fault(address))
            while (heard := bad.hear())[0] != mdp.DISCONNECT:
                self.assertEqual(heard[0], mdp.HEARTBEAT)
            with mdp.Worker(self.workers, b"s"):
                self.assertEqual(client.receive()[2], [b"x"])
            self.wait_workers(client, "s", 0)


class OfAWorker(harness.Case):
    """`metricmq worker query` and a broker that is not ours."""

    @classmethod
    def setUpClass(cls):
        cls.data = harness.temporary_folder(cls) / "data"
        with harness.up(cls.data) as program:
            harness.run("demo", "--connect", program.ready["clients"], "--metrics", 1, "--rows", 40000)
            cls.uid = json.loads(harness.http_get(program, "/_models")[2])[0]["uid"]

    def setUp(self):
        super().setUp()
        self.broker = mdp.ForeignBroker()
        self.addCleanup(self.broker.close)

    def worker(self, *options, endpoint=None):
        program = harness.Program("worker", "query", "--connect", endpoint or self.broker.endpoint, "--data", self.data,
                                  "--drain-timeout", "2s", *options, wait=False)
        self.addCleanup(program.__exit__, None, None, None)
        return program

    def first_ready(self):
        """(peer, frames) of READY. Connections are counted from here on: a worker tries endpoints before it uses them."""
        heard = self.broker.expect(mdp.READY)
        wait_until(lambda: self.broker.count()[0] - self.broker.count()[1] == 1, what="the end of attempts")
        self.counted = self.broker.count()
        return heard

    def connections(self):
        """(accepted, ended) since READY."""
        return tuple(now - then for now, then in zip(self.broker.count(), self.counted))

    def ask(self, peer, address, **arguments):
        self.broker.say(peer, mdp.REQUEST, address, b"", msgpack.packb(arguments))
        return self.broker.answer(peer, address)

    def test_ready_names_one_service(self):
        self.worker("--capacity", 1)
        self.assertEqual(self.broker.expect(mdp.READY)[1], [b"metric.query"])
        self.worker()
        service, capacity = self.broker.expect(mdp.READY)[1]
        self.assertEqual(service, b"metric.query")
        self.assertIn(int(capacity), range(2, 1001))

    def test_its_socket_is_a_dealer(self):
        with socket.create_server(("127.0.0.1", 0)) as listening:
            self.worker(endpoint=f"tcp://127.0.0.1:{listening.getsockname()[1]}")
            self.assertIn(b"\x0bSocket-Type\x00\x00\x00\x06DEALER", hand_shake(listening))

    def test_partials_then_one_final(self):
        """Addressed as the request was, whatever the address holds, to the longest that a ROUTER knows."""
        self.worker("--threads", 1)
        peer, _ = self.first_ready()
        for address in (b"\0", b"\x00k\x8bEg", b"a uuid of 36 bytes, as some brokers do", os.urandom(255)):
            parts = self.ask(peer, address, op="data", uid=self.uid, anomaly=-1, max_bytes=4 << 20)
            self.assertGreater(len(parts), 3)
            self.assertEqual([msgpack.unpackb(part[0])["seq"] for part in parts], list(range(len(parts))))
            self.assertEqual(len(self.ask(peer, address, op="data", uid=self.uid, limit=1)), 1)
        self.assertEqual(self.connections(), (0, 0), "there is one connection and no other")

    def test_requests_are_heartbeats(self):
        """For longer than it bears silence it gets requests only: it stays, and beats itself; READY is not said again,
        though nobody ever answered it."""
        self.worker()
        self.broker.beats = False
        peer, _ = self.first_ready()
        beaten, end, answered = [], time.monotonic() + 3.5, 0
        while time.monotonic() < end:
            self.broker.say(peer, mdp.REQUEST, b"c", b"", msgpack.packb({"op": "stats", "id": answered}))
            while (heard := self.broker.hear()) and heard[1] != mdp.FINAL:
                self.assertEqual(heard, (peer, mdp.HEARTBEAT, []))
                beaten.append(time.monotonic())
            self.assertEqual(msgpack.unpackb(heard[2][2])["id"], answered)
            answered += 1
            if heard := self.broker.hear(0.1):
                self.assertEqual(heard, (peer, mdp.HEARTBEAT, []))
                beaten.append(time.monotonic())
        self.assertGreaterEqual(len(beaten), 2)
        self.assertEqual(self.connections(), (0, 0))

    def test_disconnect_is_obeyed(self):
        """Nothing more comes over the old socket, which is closed; READY comes from a new one."""
        self.worker()
        old, _ = self.first_ready()
        for round_ in range(2):
            self.broker.say(old, mdp.DISCONNECT)
            while (heard := self.broker.hear())[1] == mdp.HEARTBEAT:
                self.assertEqual(heard[0], old, "on its way when it was told")
            new, command, _ = heard
            self.assertEqual(command, mdp.READY)
            self.assertNotEqual(new, old)
            wait_until(lambda: self.connections() == (round_ + 1, round_ + 1), what="the end of the old connection")
            old = new
        self.assertEqual(len(self.ask(old, b"c", op="stats")), 1)

    def test_it_says_disconnect_when_it_leaves(self):
        worker = self.worker()
        peer, _ = self.first_ready()
        worker.signal(signal.SIGTERM)
        self.assertEqual(self.broker.expect(mdp.DISCONNECT), (peer, []))
        wait_until(lambda: self.connections() == (0, 1), what="the end of the connection")
        self.assertIsNone(self.broker.hear(0))


def hand_shake(listening):
    """What a peer that connects says of itself: its READY of ZMTP. It may try an endpoint before it uses it."""
    listening.settimeout(20)
    head = len(zmtp.GREETING)
    while True:
        peer, _ = listening.accept()
        text = b""
        with peer, contextlib.suppress(ConnectionError):
            peer.settimeout(20)
            peer.sendall(zmtp.GREETING + zmtp.READY.replace(b"\x06DEALER", b"\x06ROUTER"))
            while got := peer.recv(4096):
                text += got
                if len(text) >= head + 2 and len(text) >= head + 2 + text[head + 1]:
                    return text[head:]


class OfAClient(harness.Case):
    """`metricmq query` and a broker that is not ours."""

    def test_its_socket_is_a_dealer(self):
        with socket.create_server(("127.0.0.1", 0)) as listening:
            thread = threading.Thread(target=harness.run, args=(
                "models", "--connect", f"tcp://127.0.0.1:{listening.getsockname()[1]}", "--timeout", "1s"),
                kwargs={"check": False})
            thread.start()
            self.assertIn(b"\x0bSocket-Type\x00\x00\x00\x06DEALER", hand_shake(listening))
            thread.join()

    def test_any_number_of_partials(self):
        broker = fake_bus.FakeBus()
        broker.mmi_status = b"200"
        self.addCleanup(broker.stop)
        for partials in (0, 1, 7):
            broker.seen.clear()

            def answer(bus, peer, service, request, partials=partials):
                parts = [fake_bus.pack(fake_bus.NAMES) + fake_bus.rows("u", 1, 2)]
                parts += [fake_bus.rows("u", 1 + 2 * number, 2) for number in range(1, partials + 1)]
                for seq, payload in enumerate(parts[:-1]):
                    bus.partial(peer, service, request, seq, payload, cursor=f"c{seq}")
                bus.final(peer, service, request, payload=parts[-1], seq=partials)

            broker.answer = answer
            done = harness.run("query", "u", "--connect", broker.endpoint, "--format", "csv")
            self.assertEqual(len(done.out.splitlines()), 1 + 2 * (partials + 1), done.out)
            self.assertEqual([(service, request["op"], request["uid"]) for service, request in broker.seen],
                             [("metric.query", "model", "u"), ("metric.query", "data", "u")])


if __name__ == "__main__":
    harness.main()
