"""A client and a worker that know RFC 18 (MDP/0.2) and nothing of metricmq."""
import threading
import time

import zmq

CLIENT, WORKER = b"MDPC02", b"MDPW02"
REQUEST_OF_CLIENT, PARTIAL_OF_CLIENT, FINAL_OF_CLIENT = b"\x01", b"\x02", b"\x03"
READY, REQUEST, PARTIAL, FINAL, HEARTBEAT, DISCONNECT = (bytes([n]) for n in range(1, 7))


class Client:
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

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


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
