"""A broker that a test scripts: it answers requests as it is told, right or wrong."""
import threading

import msgpack
import zmq

NAMES = ["names", "uid", "timestamp", "value", "anomaly_score", "rowid"]


def pack(value):
    return msgpack.packb(value, use_bin_type=False)


def rows(uid, first, count):
    return b"".join(pack([uid, 1376602440 + 60 * n, n + 0.5, 0.25, n]) for n in range(first, first + count))


class FakeBus:
    """A ROUTER that answers each request by the next function of `script`, in a thread."""

    def __init__(self):
        self.socket = zmq.Context.instance().socket(zmq.ROUTER)
        self.socket.linger = 0
        self.socket.sndhwm = 0  # a ROUTER drops what is beyond it
        port = self.socket.bind_to_random_port("tcp://127.0.0.1")
        self.endpoint = f"tcp://127.0.0.1:{port}"
        self.seen = []
        self.answer = None
        self.tasks = []  # functions that the thread, whose socket it is, calls soon
        self.mmi_status = None  # set: what every mmi.service is answered
        self.mmi_count = 0  # how often that was
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while not self.stopping.is_set():
            while self.tasks:
                self.tasks.pop(0)()
            if not self.socket.poll(20):
                continue
            peer, magic, command, service, *body = self.socket.recv_multipart()
            if magic != b"MDPC02" or command != b"\x01":
                continue
            request = service.startswith(b"mmi.") and body or msgpack.unpackb(
                body[0], strict_map_key=False, unicode_errors="surrogateescape")
            if service.startswith(b"mmi.") and self.mmi_status:
                self.mmi(peer, service, self.mmi_status)
                continue
            self.seen.append((service.decode(), request))
            if self.answer:
                self.answer(self, peer, service, request)
        self.socket.close()

    def partial(self, peer, service, request, seq, payload, cursor=None):
        header = {"id": request.get("id"), "seq": seq, "cursor": cursor}
        self.socket.send_multipart([peer, b"MDPC02", b"\x02", service, pack(header), payload])

    def final(self, peer, service, request, status=200, payload=None, next=None, error=None, seq=0, state="s"):
        header = {"id": request.get("id"), "status": status, "rows": 0, "seq": seq, "next": next, "error": error,
                  "state": state}
        frames = [peer, b"MDPC02", b"\x03", service, pack(header)]
        self.socket.send_multipart(frames + ([payload] if payload is not None else []))

    def mmi(self, peer, service, status, payload=None):
        self.mmi_count += 1
        frames = [peer, b"MDPC02", b"\x03", service, status]
        self.socket.send_multipart(frames + ([payload] if payload is not None else []))

    def stop(self):
        self.stopping.set()
        self.thread.join()
