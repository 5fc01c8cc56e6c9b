"""A bus client that knows RFC 18, msgpack and docs/protocol.md, and none of metricmq's code."""
import itertools

import msgpack
import zmq


class Refused(Exception):
    """A FINAL with an error's status."""

    def __init__(self, status, error):
        super().__init__(f"{status}: {error}")
        self.status, self.error = status, error


class Bus:
    """One DEALER; one request at a time. curve: (public, secret, the broker's public) keys; None: plain text."""

    def __init__(self, endpoint, timeout=60, curve=None):
        self.socket = zmq.Context.instance().socket(zmq.DEALER)
        self.socket.setsockopt(zmq.LINGER, 0)
        if curve:
            self.socket.curve_publickey, self.socket.curve_secretkey, self.socket.curve_serverkey = curve
        self.socket.connect(endpoint)
        self.timeout = timeout
        self.ids = itertools.count(1)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, service, body, id=None):
        id = next(self.ids) if id is None else id
        packed = body if isinstance(body, bytes) else msgpack.packb({**body, "id": id})
        self.socket.send_multipart([b"MDPC02", b"\x01", service.encode(), packed])
        return id

    def receive(self):
        """(final, header, payload) of the next frame group; header None for mmi.*."""
        if not self.socket.poll(self.timeout * 1000):
            raise TimeoutError("no answer")
        magic, command, service, *body = self.socket.recv_multipart()
        assert magic == b"MDPC02" and command in (b"\x02", b"\x03"), (magic, command)
        final = command == b"\x03"
        if service.startswith(b"mmi."):
            return final, None, body
        header = msgpack.unpackb(body[0], strict_map_key=False)
        return final, header, body[1] if len(body) > 1 else b""

    def parts(self, service, body):
        """All PARTIALs and the FINAL of one request, as (final, header, payload)."""
        id = self.send(service, body)
        seq = 0
        while True:
            final, header, payload = self.receive()
            if header["id"] != id:
                continue
            assert header["seq"] == seq, header
            seq += 1
            yield final, header, payload
            if final:
                return

    def call(self, service, body):
        """The FINAL's header and the payloads, joined. Refused on an error's status."""
        payloads = []
        for _, header, payload in self.parts(service, body):
            payloads.append(payload)
        if header["status"] >= 400:
            raise Refused(header["status"], header["error"])
        return header, b"".join(payloads)

    def pages(self, body):
        """All pages of a metric.query stream: (header, payload) each."""
        cursor = None
        while True:
            header, payload = self.call("metric.query", {**body, "cursor": cursor} if cursor else body)
            yield header, payload
            cursor = header["next"]
            if cursor is None:
                return

    def stream(self, body):
        """The whole stream's bytes."""
        return b"".join(payload for _, payload in self.pages(body))

    def mmi(self, service, body=b""):
        self.socket.send_multipart([b"MDPC02", b"\x01", service.encode(), body])
        return self.receive()[2]


def unpack_all(data):
    """The values of a concatenation."""
    unpacker = msgpack.Unpacker(max_buffer_size=0, strict_map_key=False)
    unpacker.feed(data)
    return list(unpacker)


def rows_of(data):
    """Rows of a data stream as tuples (uid, timestamp, value, anomaly_score, rowid)."""
    names, *rows = unpack_all(data)
    assert names == ["names", "uid", "timestamp", "value", "anomaly_score", "rowid"], names
    return [tuple(row) for row in rows]


def pack_rows(rows):
    return b"".join(msgpack.packb(list(row)) for row in rows)
