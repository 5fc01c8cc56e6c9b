"""A small service manager, for where systemd cannot be had (machine.py): it starts the roles of metricmq.target as their
units say, but for the sandbox and the user, is told by them when they are ready, and starts what dies again.
"""
import os
import pathlib
import re
import signal
import subprocess
import tempfile
import threading
import time

import harness
import manager

UNITS = harness.SOURCE / "ops" / "systemd"
ORDER = [f"metricmq-{role}.service" for role in ("broker", "write", "query", "feedback", "http")]


class Service:
    """One role, and the thread that keeps it alive."""

    def __init__(self, name, data, environment, pause_s):
        self.name, self.pause_s, self.environment = name, pause_s, environment
        command, = re.findall(r"^ExecStart=/usr/bin/metricmq (.*)$", (UNITS / name).read_text(), re.M)
        self.args = [harness.PROGRAM, *command.replace("/var/lib/metricmq", str(data)).split()]
        self.log = tempfile.NamedTemporaryFile(prefix="metricmq-log-", mode="w+b")
        self.process, self.error = None, None
        self.ready_s = 0.0  # when it was ready last
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True, name=name)
        self.thread.start()

    def run(self):
        try:
            while not self.stopping.is_set():
                self.live()
        except BaseException as error:  # it must not vanish with the thread
            self.error = error

    def live(self):
        """From one start to the end that follows."""
        with tempfile.TemporaryDirectory(prefix="metricmq-test-") as folder:
            told = manager.Manager(pathlib.Path(folder))
            self.process = subprocess.Popen(self.args, stdout=subprocess.DEVNULL, stderr=self.log,
                                            env={**os.environ, **self.environment, **told.environment()})
            harness.wait_until(lambda: self.process.poll() is not None or told.values("READY"), 60, f"{self.name}: READY")
            if told.values("READY"):
                self.ready_s = time.monotonic()
            status = self.process.wait()
            told.close()
        if not self.stopping.is_set():
            assert status == -signal.SIGKILL, f"{self.name} ended by itself: {status}\n{self.errors()[-4000:]}"
            self.stopping.wait(self.pause_s)

    def errors(self):
        return pathlib.Path(self.log.name).read_text("utf-8", "replace")

    def stop(self):
        """SIGTERM; it must end well, and its log be free of reports."""
        self.stopping.set()
        self.process.terminate()
        self.thread.join(60)
        assert not self.thread.is_alive(), f"{self.name} does not stop"
        if self.error:
            raise self.error
        assert self.process.returncode == 0, f"{self.name}: exit {self.process.returncode}\n{self.errors()[-4000:]}"
        assert not harness.REPORT.search(self.errors()), self.errors()

    def abandon(self):
        self.stopping.set()
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
        self.thread.join(10)


class Roles:
    """What supervised.Work needs of a Machine."""

    def __init__(self, folder, environment, pause_s=0.1):
        """environment: of all of them."""
        self.folder = folder / "kept"
        self.services = {}
        for name in ORDER:
            service = Service(name, self.folder, environment.get(name, {}), pause_s)
            self.services[name] = service
            harness.wait_until(lambda: service.ready_s or service.error, 60, f"{name} {service.errors()}")
            self.look(service)

    def look(self, service):
        if service.error:
            raise AssertionError(f"{service.name}: {service.error!r}") from service.error

    def kill(self, name, number=signal.SIGKILL):
        """When, for wait_again."""
        now_s = time.monotonic()
        self.services[name].process.send_signal(number)
        return now_s

    def wait_again(self, name, since_s, timeout=60):
        """Waits until it is ready anew; seconds from `since_s` until then."""
        service = self.services[name]
        harness.wait_until(lambda: service.ready_s > since_s or service.error, timeout, f"{name} again")
        self.look(service)
        return service.ready_s - since_s

    def data(self):
        return self.folder

    def check(self):
        """The store must be whole."""
        harness.run("check", "--data", self.folder)

    def stop(self):
        for service in reversed(self.services.values()):
            service.stop()

    def end(self):
        for service in self.services.values():
            service.abandon()
