"""Daemons in a temporary folder, for keep.py and the stores that it keeps."""
import contextlib
import ctypes
import os
import pathlib
import random
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

READY_S = float(os.environ.get("METRICMQ_ENGINE_READY_S", 90))  # many times what it takes on a busy machine
# Below the ports that the kernel gives to whoever connects, so that nobody has them by chance.
PORTS = range(10000, 32000)
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36  # linux/prctl.h


class Stopped(Exception):
    """The test is gone or wants no store any more."""


class Died(Exception):
    """A daemon ended; its output is the text."""


def die_with_parent():
    """For a process that was forked: the kernel kills it when its parent is gone."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def free_ports(count):
    """Ports that nobody listens at now."""
    found = []
    while len(found) < count:
        port = random.choice(PORTS)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            found += [port] * (port not in found)
    return found


def listens(port, host="127.0.0.1"):
    with socket.socket() as probe:
        return probe.connect_ex((host, port)) == 0


class Keeper:
    """Daemons and their folder."""

    def __init__(self):
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)  # what daemons leave becomes ours
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="metricmq-engine-"))
        self.daemons = []
        self.again = {}  # daemons that are started again when they have ended: their commands, by name

    def check(self, wait_s=0.0):
        """Raises if the test is gone or a daemon has ended; else returns after wait_s seconds."""
        if select.select([sys.stdin], [], [], wait_s)[0] and not os.read(0, 1):
            raise Stopped
        for name, process, log in list(self.daemons):
            if process.poll() is not None and name in self.again:
                self.daemons.remove((name, process, log))
                self.start(name, *self.again[name])
            elif process.poll() is not None:
                raise Died(f"{name} ended with {process.returncode}:\n{log.read_text('utf-8', 'replace')[-2000:]}")

    def wait_until(self, condition, what):
        end = time.monotonic() + READY_S
        while not condition():
            self.check(0.01)
            if time.monotonic() > end:
                raise Died(f"{what} did not come within {READY_S:g} s")

    def run(self, *args, **options):
        """A command to its end; its stdout."""
        self.check()
        done = subprocess.run(list(map(str, args)), capture_output=True, text=True, stdin=subprocess.DEVNULL,
                              timeout=READY_S, **options)
        if done.returncode != 0:
            raise Died(f"{args[0]}: exit {done.returncode}\n{done.stderr[-2000:]}")
        return done.stdout

    def start(self, name, *args):
        """A daemon in the foreground, which the kernel kills when this process dies."""
        log = self.folder / f"{name}.out"
        with log.open("wb") as output:
            process = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", "--", *map(str, args)], cwd=self.folder,
                                       stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                                       start_new_session=True)
        self.daemons.append((name, process, log))
        return process

    def close(self):
        """Kills the daemons with all that they have forked."""
        for _, process, _ in self.daemons:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            while True:
                os.wait()
        shutil.rmtree(self.folder, ignore_errors=True)
