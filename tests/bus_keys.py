"""Keys for tests, and peers of the bus that use them: pyzmq's, so that certificates and handshakes are not only ours."""
import contextlib

import harness
import msgpack
import zmq
import zmq.auth


def keygen(folder, *args):
    return harness.run("keygen", "--curve", folder, *args)


def options(folder, path):
    """The flags with which commands of ours use a key."""
    return ("--curve-key", f"{folder / path}.cert_secret", "--curve-server", folder / "server.cert")


def pair(path):
    """(public, secret) of a certificate's secret half."""
    return zmq.auth.load_certificate(f"{path}.cert_secret")


class Peer:
    """A DEALER, with a monitor that tells what becomes of its handshakes."""

    EVENTS = (zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_HANDSHAKE_FAILED_AUTH | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
              | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL | zmq.EVENT_DISCONNECTED)

    def __init__(self, endpoint, own=None, server=None):
        """own: (public, secret); server: the broker's public key. Neither: NULL, plain text."""
        self.socket = zmq.Context.instance().socket(zmq.DEALER)
        self.socket.setsockopt(zmq.LINGER, 0)
        if own:
            self.socket.curve_publickey, self.socket.curve_secretkey = own
            self.socket.curve_serverkey = server
        self.monitor = self.socket.get_monitor_socket(self.EVENTS)
        self.seen = []
        self.socket.connect(endpoint)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if not self.socket.closed:
            self.socket.disable_monitor()
            self.monitor.close(0)
            self.socket.close()

    def event(self, timeout=20):
        """The next event, as a name of zmq.EVENT_*."""
        assert self.monitor.poll(timeout * 1000), f"no event after {self.seen}"
        number = int.from_bytes(self.monitor.recv_multipart()[0][:2], "little")
        names = [event.name for event in zmq.Event if event.value == number]
        self.seen.append(names[0])
        return names[0]

    def ends(self):
        """Waits until the handshake has succeeded (True) or the connection has ended before that (False)."""
        while True:
            event = self.event()
            if event == "HANDSHAKE_SUCCEEDED":
                return True
            if event == "DISCONNECTED":
                return False

    def ask(self, service, body=b"", id=1):
        packed = body if isinstance(body, bytes) else msgpack.packb({**body, "id": id})
        self.socket.send_multipart([b"MDPC02", b"\x01", service.encode(), packed])

    def say(self, *frames):
        self.socket.send_multipart([b"MDPW02", *frames])

    def receive(self, timeout=20):
        assert self.socket.poll(timeout * 1000), "nothing came"
        return self.socket.recv_multipart()

    def call(self, service, body, id=1):
        """The FINAL's header; PARTIALs are passed over."""
        self.ask(service, body, id)
        while True:
            _, command, _, *rest = self.receive()
            if command == b"\x03":
                return msgpack.unpackb(rest[0], strict_map_key=False)

    def mmi(self, service, body=b""):
        self.ask(service, body)
        return self.receive()[3:]

    def stats(self):
        status, *body = self.mmi("mmi.stats")
        assert status == b"200", status
        return msgpack.unpackb(body[0], strict_map_key=False)


@contextlib.contextmanager
def broker(folder, *args, command="broker", **options):
    """A broker with the folder's keys."""
    base = {"broker": ("broker", "--bind", harness.LOCAL, "--bind-workers", harness.LOCAL),
            "up": ("up", "--http", "127.0.0.1:0", "--bind", harness.LOCAL, "--bind-workers", harness.LOCAL)}[command]
    with harness.Program(*base, "--curve", folder, *args, **options) as program:
        yield program


def folder_of_keys(folder, clients=(), workers=()):
    """A folder with the broker's pair and peers: (name, rights or services or None)."""
    keygen(folder, "server")
    for name, rights in clients:
        keygen(folder, "client", name, *(("--rights", rights) if rights is not None else ()))
    for name, services in workers:
        keygen(folder, "worker", name, *(("--services", services) if services is not None else ()))
    return folder
