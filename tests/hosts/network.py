"""Hosts: network namespaces that a bridge joins, in namespaces of our own, so that nothing is left of them when we end.

    network.enter()                        # goes on in new namespaces, or skips
    with network.Network(["a", "b"]) as network:
        host = network.hosts["a"]          # host.address
        host.popen([...])                  # a process of that host
        host.kill()                        # all of them at once
        host.cut(); host.join()            # the cable: what is sent either way vanishes
        host.freeze(); host.thaw()
        host.part(other); host.meet(other)
"""
import contextlib
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile

import harness

NETWORK = "10.77.0"
OURS = f"{NETWORK}.1"  # the clients', which are at the bridge
INSIDE = "METRICMQ_HOSTS_INSIDE"
SKIPPED = 77  # exit status: nothing was tested
PLACES = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--propagation", "private"]


def lacking():
    """Why there can be no hosts here; None: there can."""
    missing = [name for name in ("ip", "unshare", "nsenter", "haproxy") if not shutil.which(name)]
    if missing:
        return f"no {', '.join(missing)} here: ops/packages.sh names the packages"
    if os.geteuid() != 0:
        return "network namespaces and PostgreSQL's user want root"
    done = subprocess.run([*PLACES, "ip", "link", "add", "probe", "type", "bridge"], capture_output=True, text=True)
    return None if done.returncode == 0 else f"no network namespaces here: {done.stderr.strip()}"


def enter():
    """Runs this program in namespaces of its own, and ends with its status; returns in there. Temporary files lie in
    memory from then on and are gone with us."""
    if os.environ.get(INSIDE):
        folder = os.environ["TMPDIR"] = tempfile.tempdir = os.environ[INSIDE]
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/run/netns"], check=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=1777", "tmpfs", folder], check=True)
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        return
    text = lacking()
    if text:
        if os.environ.get("CI") or os.environ.get("METRICMQ_ENGINES"):
            print(f"FAILED: {text}", file=sys.stderr, flush=True)
            sys.exit(1)
        print(f"SKIPPED, NOT TESTED: {text}", file=sys.stderr, flush=True)
        sys.exit(SKIPPED)
    pathlib.Path("/run/netns").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="mmq-", dir="/tmp") as folder:
        done = subprocess.run(["setpriv", "--pdeathsig", "KILL", *PLACES, sys.executable, *sys.argv],
                              env={**os.environ, INSIDE: folder})
    sys.exit(done.returncode if done.returncode >= 0 else 128 - done.returncode)


def ip(*arguments):
    subprocess.run(["ip", *map(str, arguments)], check=True, capture_output=True, text=True)


class Host:
    def __init__(self, name, number):
        self.name, self.address = name, f"{NETWORK}.{number}"
        self.spared = set()  # processes that stay: what stands for the host's service manager
        ip("netns", "add", name)
        ip("link", "add", f"to-{name}", "type", "veth", "peer", "name", "eth0", "netns", name)
        ip("link", "set", f"to-{name}", "master", "bridge", "up")
        ip("-n", name, "addr", "add", f"{self.address}/24", "dev", "eth0")
        for device in ("lo", "eth0"):
            ip("-n", name, "link", "set", device, "up")

    @property
    def prefix(self):
        """What a command begins with that is to run there."""
        return ["nsenter", f"--net=/run/netns/{self.name}"]

    def popen(self, command, **options):
        return subprocess.Popen([*self.prefix, "setpriv", "--pdeathsig", "KILL", *map(str, command)], **options)

    def pids(self):
        done = subprocess.run(["ip", "netns", "pids", self.name], check=True, capture_output=True, text=True)
        return {int(pid) for pid in done.stdout.split()} - self.spared

    def send(self, number):
        """To all processes there, those too that are started meanwhile."""
        told = set()
        while True:
            new = self.pids() - told
            if not new:
                return told
            for pid in new:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
            told |= new

    def kill(self):
        """kill -9: as if the machine had gone, but for its files."""
        self.send(signal.SIGSTOP)  # nobody shall start anything meanwhile
        told = self.send(signal.SIGKILL)
        harness.wait_until(lambda: not any(is_alive(pid) for pid in told), 20, f"the end of {self.name}'s processes")

    def freeze(self):
        self.send(signal.SIGSTOP)

    def thaw(self):
        self.send(signal.SIGCONT)

    def cut(self):
        ip("-n", self.name, "link", "set", "eth0", "down")

    def join(self):
        ip("-n", self.name, "link", "set", "eth0", "up")

    def part(self, other):
        """What is sent from here to the other host vanishes."""
        ip("-n", self.name, "neigh", "replace", other.address, "lladdr", "02:00:00:00:00:01", "dev", "eth0", "nud", "permanent")

    def meet(self, other):
        ip("-n", self.name, "neigh", "del", other.address, "dev", "eth0")


def is_alive(pid):
    with contextlib.suppress(OSError):
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    return False


class Network:
    """`names`: of hosts, each with the last number of its address."""

    def __init__(self, names):
        ip("link", "add", "bridge", "type", "bridge")
        ip("addr", "add", f"{OURS}/24", "dev", "bridge")
        ip("link", "set", "bridge", "up")
        self.hosts = {name: Host(name, number) for name, number in names.items()}
