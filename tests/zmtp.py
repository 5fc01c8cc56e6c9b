"""ZMTP 3.0 with the NULL mechanism over a bare socket: for peers that libzmq would never be."""
import socket

GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x00NULL" + bytes(16) + b"\x00" + bytes(31)
READY = b"\x04\x29\x05READY\x0bSocket-Type\x00\x00\x00\x06DEALER\x08Identity\x00\x00\x00\x00"
MORE, LONG, COMMAND = 1, 2, 4


def connect(endpoint, receive_buffer=None):
    """A TCP connection to an endpoint of the broker's."""
    host, port = endpoint.removeprefix("tcp://").rsplit(":", 1)
    connection = socket.socket()
    if receive_buffer:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    connection.settimeout(30)
    connection.connect((host, int(port)))
    return connection


def frame(data, more):
    flags = (MORE if more else 0) | (LONG if len(data) > 255 else 0)
    size = len(data).to_bytes(8 if len(data) > 255 else 1, "big")
    return bytes([flags]) + size + data


def message(frames):
    return b"".join(frame(data, number + 1 < len(frames)) for number, data in enumerate(frames))


class Raw:
    """A DEALER that reads as much as it is told to, when it is told to."""

    def __init__(self, endpoint, receive_buffer=None):
        self.socket = connect(endpoint, receive_buffer)
        self.socket.sendall(GREETING + READY)
        self.buffer = bytearray()
        self.greeted = self.ready = False
        self.peer_ready = b""  # the peer's READY: its properties
        self.parts = []
        while not self.ready:  # a message before that would be taken for a part of the handshake
            self.read(256)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, frames):
        self.socket.sendall(message(frames))

    def read(self, size=1 << 16):
        """Reads some bytes; the whole messages that they complete. ConnectionError when the peer has closed."""
        data = self.socket.recv(size)
        if not data:
            raise ConnectionError("closed")
        self.buffer += data
        return list(self._messages())

    def _messages(self):
        if not self.greeted:
            if len(self.buffer) < len(GREETING):
                return
            del self.buffer[:len(GREETING)]
            self.greeted = True
        while (whole := self._take_frame()) is not None:
            flags, data = whole
            if flags & COMMAND:
                if data.startswith(b"\x05READY"):
                    self.ready, self.peer_ready = True, data
                if data.startswith(b"\x04PING"):
                    pong = b"\x04PONG" + data[7:]
                    self.socket.sendall(bytes([COMMAND, len(pong)]) + pong)
                continue
            self.parts.append(data)
            if not flags & MORE:
                parts, self.parts = self.parts, []
                yield parts

    def _take_frame(self):
        """(flags, data) of the next frame, None if it is not whole yet."""
        if len(self.buffer) < 2:
            return None
        flags = self.buffer[0]
        head = 9 if flags & LONG else 2
        size = int.from_bytes(self.buffer[1:head], "big")
        if len(self.buffer) < head + size:
            return None
        data = bytes(self.buffer[head:head + size])
        del self.buffer[:head + size]
        return flags, data
