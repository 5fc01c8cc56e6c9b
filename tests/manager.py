"""A service manager as far as its programs can see it: a socket that takes what they say by sd_notify(3)."""
import contextlib
import os
import re
import socket
import time

import harness


class Manager:
    """Listens at a path of the folder, or at an abstract name; `said` holds the datagrams that came, as dicts."""

    def __init__(self, folder, abstract=False, period_s=None):
        self.address = f"@metricmq-test-{os.getpid()}-{id(self)}" if abstract else str(folder / "notify")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind("\0" + self.address[1:] if abstract else self.address)
        self.socket.setblocking(False)
        self.period_s = period_s
        self.said = []
        self.times = []

    def environment(self):
        """What the manager hands to what it starts."""
        watchdog = {"WATCHDOG_USEC": str(round(self.period_s * 1e6))} if self.period_s else {}
        return {"NOTIFY_SOCKET": self.address, **watchdog}

    def listen(self):
        """Takes what has come; all that was said so far."""
        with contextlib.suppress(BlockingIOError):
            while True:
                self.take()
        return self.said

    def take(self):
        """The oldest that has come."""
        text = self.socket.recv(65536).decode()
        assert text.endswith("\n"), text
        said = dict(re.fullmatch(r"([A-Z_]+)=(.*)", line).groups() for line in text.splitlines())
        self.said.append(said)
        self.times.append(time.monotonic())
        return said

    def values(self, name):
        return [said[name] for said in self.listen() if name in said]

    def status(self):
        """The last one; "" if there was none."""
        return (self.values("STATUS") or [""])[-1]

    def wait(self, name, value="1", count=1, timeout=20.0):
        harness.wait_until(lambda: self.values(name).count(value) >= count, timeout, f"{name}={value}, {self.said}")

    def wait_status(self, pattern, timeout=20.0):
        harness.wait_until(lambda: re.search(pattern, self.status()), timeout, f"{pattern}, {self.said[-5:]}")

    def pings_after(self, moment):
        self.listen()
        return sum("WATCHDOG" in said and when > moment for said, when in zip(self.said, self.times))

    def close(self):
        self.socket.close()
