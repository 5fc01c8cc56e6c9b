"""A client and a worker that know RFC 18 (MDP/0.2) and nothing of metricmq."""
import threading
import time

import zmq
import zmq.utils.monitor

CLIENT, WORKER = b"MDPC02", b"MDPW02"
REQUEST_OF_CLIENT, PARTIAL_OF_CLIENT, FINAL_OF_CLIENT = b"\x01", b"\x02", b"\x03"
READY, REQUEST, PARTIAL, FINAL, HEARTBEAT, DISCONNECT = (bytes([n]) for n in range(1, 7))


class Peer:
    """Has a socket, which is closed behind it."""

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Client(Peer):
    def __init__(self, endpoint, identity=None):
        self.socket = zmq.Context.instance().socket(zmq.DEALER)
        self.socket.linger = 0
        self.socket.sndhwm = self.socket.rcvhwm = 100000
        if identity:
            self.socket.identity = identity
        self.socket.connect(endpoint)

    def send(self, service, *body):
        self.socket.send_multipart([CLIENT, REQUEST_OF_CLIENT, service, *body])

    def receive(self, timeout=20.0):
        """(command, service, body frames) of the next PARTIAL or FINAL."""
        if not self.socket.poll(int(timeout * 1000)):
            raise AssertionError(f"no answer within {timeout} s")
        magic, command, service, *body = self.socket.recv_multipart()
        assert magic == CLIENT and command in (PARTIAL_OF_CLIENT, FINAL_OF_CLIENT), (magic, command)
        return command, service, body

    def call(self, service, *body, timeout=20.0):
        """The frames of all PARTIALs and the FINAL, in order."""
        self.send(service, *body)
        parts = []
        while True:
            command, got, frames = self.receive(timeout)
            assert got == service, (got, service)
            parts.append(frames)
            if command == FINAL_OF_CLIENT:
                return parts


class Worker(threading.Thread):
    """One request at a time, as RFC 18 has it. work(body) yields lists of frames: the last is FINAL,
    those before are PARTIALs. It registers again after DISCONNECT or silence of the broker."""

    def __init__(self, endpoint, service, work=lambda body: [body], beat=1.0, liveness=10.0):
        super().__init__(daemon=True)
        self.endpoint, self.service, self.work = endpoint, service, work
        self.beat, self.liveness = beat, liveness
        self.stopping = threading.Event()
        self.registered = 0
        self.start()

    def connect(self):
        self.socket = zmq.Context.instance().socket(zmq.DEALER)
        self.socket.linger = 1000
        self.socket.connect(self.endpoint)
        self.socket.send_multipart([WORKER, READY, self.service])
        self.registered += 1
        self.heard = time.monotonic()
        self.beat_at = self.heard + self.beat

    def run(self):
        self.connect()
        while not self.stopping.is_set():
            if self.socket.poll(50):
                self.handle(self.socket.recv_multipart())
            now = time.monotonic()
            if now - self.heard > self.liveness:
                self.socket.close()
                self.connect()
            elif now >= self.beat_at:
                self.socket.send_multipart([WORKER, HEARTBEAT])
                self.beat_at = now + self.beat
        self.socket.send_multipart([WORKER, DISCONNECT])
        self.socket.close()

    def handle(self, frames):
        magic, command, *rest = frames
        assert magic == WORKER, magic
        self.heard = time.monotonic()
        if command == REQUEST:
            address, empty, *body = rest
            assert empty == b"" and 0 < len(address) <= 32, rest
            parts = list(self.work(body))
            for part in parts[:-1]:
                self.socket.send_multipart([WORKER, PARTIAL, address, b"", *part])
            self.socket.send_multipart([WORKER, FINAL, address, b"", *parts[-1]])
        elif command == DISCONNECT:
            self.socket.close()
            self.connect()

    def stop(self):
        self.stopping.set()
        self.join()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


class Hand(Peer):
    """A worker's DEALER that a test plays by hand: it says what it is told to, and nothing by itself."""

    def __init__(self, endpoint):
        self.socket = zmq.Context.instance().socket(zmq.DEALER)
        self.socket.linger = 0
        self.socket.connect(endpoint)

    def say(self, command, *frames):
        self.socket.send_multipart([WORKER, command, *frames])

    def hear(self, timeout=20.0):
        """(command, frames) of the next command; None if there is none by then."""
        if not self.socket.poll(int(timeout * 1000)):
            return None
        magic, command, *frames = self.socket.recv_multipart()
        assert magic == WORKER, magic
        return command, frames

    def take(self):
        """(address, body) of the next REQUEST; HEARTBEATs before it are passed over."""
        while (heard := self.hear()) is not None and heard[0] == HEARTBEAT:
            pass
        assert heard is not None and heard[0] == REQUEST, heard
        address, empty, *body = heard[1]
        assert empty == b"" and body, heard
        return address, body


class ForeignBroker:
    """The workers' ROUTER of a broker that knows RFC 18 only, played by a test. It answers each HEARTBEAT with one,
    unless it is told to be silent. It knows how many connections were accepted and how many have ended."""

    def __init__(self):
        self.socket = zmq.Context.instance().socket(zmq.ROUTER)
        self.socket.linger = 0
        self.monitor = self.socket.get_monitor_socket(zmq.EVENT_ACCEPTED | zmq.EVENT_DISCONNECTED)
        self.endpoint = f"tcp://127.0.0.1:{self.socket.bind_to_random_port('tcp://127.0.0.1')}"
        self.beats = True
        self.accepted = self.ended = 0

    def count(self):
        while self.monitor.poll(0):
            event = zmq.utils.monitor.recv_monitor_message(self.monitor)["event"]
            self.accepted += event == zmq.EVENT_ACCEPTED
            self.ended += event == zmq.EVENT_DISCONNECTED
        return self.accepted, self.ended

    def say(self, peer, command, *frames):
        self.socket.send_multipart([peer, WORKER, command, *frames])

    def hear(self, timeout=20.0):
        """(peer, command, frames) of the next command; None if there is none by then."""
        if not self.socket.poll(int(timeout * 1000)):
            return None
        peer, magic, command, *frames = self.socket.recv_multipart()
        assert magic == WORKER and len(command) == 1, (magic, command)
        if command == HEARTBEAT:
            assert frames == [], frames
            if self.beats:
                self.say(peer, HEARTBEAT)
        return peer, command, frames

    def expect(self, command):
        """(peer, frames) of the next command that is no HEARTBEAT: it must be this one."""
        while (heard := self.hear()) is not None and heard[1] == HEARTBEAT:
            pass
        assert heard is not None and heard[1] == command, (command, heard)
        return heard[0], heard[2]

    def answer(self, peer, address):
        """The bodies of the PARTIALs and the FINAL of one answer, each addressed as its request was."""
        parts = []
        while True:
            heard = self.hear()
            assert heard is not None and heard[0] == peer, heard
            if heard[1] == HEARTBEAT:
                continue
            assert heard[1] in (PARTIAL, FINAL), heard
            assert heard[2][:2] == [address, b""] and len(heard[2]) >= 3, heard[2][:3]
            parts.append(heard[2][2:])
            if heard[1] == FINAL:
                return parts

    def close(self):
        self.socket.disable_monitor()
        self.monitor.close()
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
