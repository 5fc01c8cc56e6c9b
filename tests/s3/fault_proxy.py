"""An HTTP proxy before a real object store that brings about what stores and networks do at times.

    with FaultProxy(engine.endpoint) as proxy:
        proxy.fault = answer(503, "SlowDown")      # from now on, for all requests
        proxy.fault = None                         # well again

A fault is a function of the exchange; one that returns True has dealt with it. It may have the store do what
was asked (exchange.forward()) and spoil the answer. A signature covers the Host, which is passed on as it came,
so the store sees what the client signed. `proxy.requests` has what came, for counting.
"""
import contextlib
import http.client
import socket
import struct
import threading
import time
import urllib.parse

HEAD_MAX = 64 << 10
HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "expect"}


class Gone(Exception):
    """The client's connection ended, or is to be ended."""


class Exchange:
    """One request on its way and its answer."""

    def __init__(self, proxy, connection, begun):
        self.proxy, self.connection = proxy, connection
        head, self.body = self._read_head(begun)
        first, *lines = head.decode("latin-1").split("\r\n")
        self.method, self.target, _ = first.split(" ")
        self.path, _, self.query = self.target.partition("?")
        self.headers = [tuple(part.strip() for part in line.split(":", 1)) for line in lines if line]
        self.size = int(self.header("content-length") or 0)
        self.expects = bool(self.header("expect"))
        self.time = time.monotonic()

    def header(self, name):
        return next((value for key, value in self.headers if key.lower() == name), None)

    def _read_head(self, data):
        while b"\r\n\r\n" not in data:
            data += self._receive(65536)
            if len(data) > HEAD_MAX:
                raise Gone
        head, _, rest = data.partition(b"\r\n\r\n")
        return head, rest

    def _receive(self, most):
        data = self.connection.recv(most)
        if not data:
            raise Gone
        return data

    def read_body(self, until=None):
        """The body, or so many bytes of it."""
        until = self.size if until is None else min(until, self.size)
        if self.expects and self.size > len(self.body):
            self.connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            self.expects = False
        while len(self.body) < until:
            self.body += self._receive(min(65536, self.size - len(self.body)))

    def send(self, status, headers=(), body=b"", reason="So"):
        lines = [f"HTTP/1.1 {status} {reason}", *(f"{name}: {value}" for name, value in headers)]
        lines += [f"Content-Length: {len(body)}"] * (status not in (204, 304) and self.method != "HEAD")
        head = "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"
        self.connection.sendall(head if self.method == "HEAD" else head + body)

    def forward(self):
        """The store does what was asked: (status, headers, body) of its answer."""
        self.read_body()
        with contextlib.closing(http.client.HTTPConnection(self.proxy.store, timeout=60)) as store:
            store.putrequest(self.method, self.target, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers:
                if name.lower() not in HOP_BY_HOP:
                    store.putheader(name, value)
            if self.method in ("PUT", "POST"):
                store.putheader("Content-Length", self.size)
            store.endheaders(self.body or None)
            answer = store.getresponse()
            body = answer.read()
            headers = [(name, value) for name, value in answer.getheaders()
                       if name.lower() not in HOP_BY_HOP or self.method == "HEAD" and name.lower() == "content-length"]
            return answer.status, headers, body

    def reset(self):
        """The connection is cut off, as by a machine that fell over."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raise Gone

    def hold(self):
        """Nothing goes on until the fault is over or the client goes."""
        fault = self.proxy.fault
        self.connection.settimeout(0.02)
        while self.proxy.fault is fault and not self.proxy.stopping:
            with contextlib.suppress(TimeoutError):
                if not self.connection.recv(1, socket.MSG_PEEK):
                    raise Gone
                time.sleep(0.02)  # there is something, which is not read
        raise Gone


class FaultProxy:
    """Listens on loopback; a thread a connection."""

    def __init__(self, store, context=None):
        """context: of ssl, to speak TLS."""
        self.context = context
        self.store = urllib.parse.urlsplit(store).netloc
        self.fault = None
        self.requests = []  # (seconds, method, path, query)
        self.errors = []  # of this proxy itself
        self.stopping = False
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self.listener.getsockname()[1]
        self.endpoint = f"{'https' if context else 'http'}://127.0.0.1:{self.port}"
        self.connections = set()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.connections.add(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        try:
            if self.context:
                connection.settimeout(30)
                connection = self.context.wrap_socket(connection, server_side=True)
            while True:
                begun = connection.recv(65536)
                if not begun:
                    return
                self._handle(Exchange(self, connection, begun))
        except (Gone, OSError):
            pass
        except Exception as error:  # it must not vanish with the thread
            self.errors.append(error)
        finally:
            self.connections.discard(connection)
            connection.close()

    def _handle(self, exchange):
        self.requests.append((exchange.time, exchange.method, exchange.path, exchange.query))
        fault = self.fault
        if not fault or not fault(exchange):
            status, headers, body = exchange.forward()
            exchange.send(status, headers, body)

    def count(self, since=0.0):
        return sum(begun >= since for begun, *_ in self.requests)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stopping = True
        self.listener.close()
        for connection in list(self.connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        if self.errors:
            raise self.errors[0]


# ---- faults --------------------------------------------------------------------------------


def error_body(code):
    return (f'<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code><Message>as the test wants it</Message>'
            f"<RequestId>1</RequestId></Error>").encode()


def answer(status, code, headers=(), early=False):
    """An error instead of anything; early: before the body, after which the connection ends."""
    def fault(exchange):
        if not early:
            exchange.read_body()
        exchange.send(status, [("Content-Type", "application/xml"), *headers], error_body(code))
        if early:
            raise Gone
        return True
    return fault


def reset_in_body(exchange):
    exchange.read_body(exchange.size // 2)
    exchange.reset()


def close_without_answer(exchange):
    exchange.read_body()
    raise Gone


def lose_answer(exchange):
    """The store has done it, and nobody hears."""
    exchange.forward()
    exchange.reset()


def stall_in_body(exchange):
    exchange.read_body(exchange.size // 2)
    exchange.hold()


def stall_before_answer(exchange):
    exchange.read_body()
    exchange.hold()


def trickle_answer(exchange):
    """A byte a second."""
    exchange.read_body()
    fault = exchange.proxy.fault
    for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Padding: " + b"x" * 1000:
        exchange.connection.sendall(bytes([byte]))
        end = time.monotonic() + 1
        while time.monotonic() < end:
            if exchange.proxy.fault is not fault or exchange.proxy.stopping:
                raise Gone
            time.sleep(0.02)
    raise Gone


def trickle_body(exchange):
    """Reads a byte a second; the kernel's buffers are small, so that little is on its way."""
    exchange.connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    fault = exchange.proxy.fault
    if exchange.expects:
        exchange.connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
    while exchange.proxy.fault is fault and not exchange.proxy.stopping:
        exchange._receive(1)
        end = time.monotonic() + 1
        while time.monotonic() < end and exchange.proxy.fault is fault and not exchange.proxy.stopping:
            time.sleep(0.02)
    raise Gone


def redirect(location, status=307):
    return answer(status, "TemporaryRedirect", [("Location", location)])


def spoil(change):
    """The store does it; change(status, headers, body) makes of its answer what the client gets."""
    def fault(exchange):
        exchange.send(*change(*exchange.forward()))
        return True
    return fault


def without_etag(status, headers, body):
    return status, [(name, value) for name, value in headers if name.lower() != "etag"], body


def with_wrong_etag(status, headers, body):
    changed = [(name, '"' + "0" * 32 + '"' if name.lower() == "etag" else value) for name, value in headers]
    return status, changed, body


def only(matches, fault):
    """The fault, for exchanges of which matches(exchange) is true."""
    return lambda exchange: matches(exchange) and fault(exchange)


class First:
    """The fault, for so many exchanges of those of which matches(exchange) is true; `came`: how many had it."""

    def __init__(self, count, fault, matches=lambda exchange: True):
        self.count, self.fault, self.matches, self.came = count, fault, matches, 0

    def __call__(self, exchange):
        if self.came >= self.count or not self.matches(exchange):
            return False
        self.came += 1
        return self.fault(exchange)
