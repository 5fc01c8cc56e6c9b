"""A machine for tests whose first process is systemd itself: namespaces of this one, its files behind an overlay that is
thrown away, and metricmq installed as its units say. The network is shared: who is given a loopback address can be asked.

    with Machine(folder) as machine:
        machine.write("/etc/metricmq/broker.env", "METRICMQ_BIND=...")
        machine.boot()
        machine.control("start", "metricmq.target")
"""
import contextlib
import os
import pathlib
import shutil
import signal
import subprocess
import time
import unittest

import harness

UNITS = harness.SOURCE / "ops" / "systemd"
CONTROL_GROUPS = pathlib.Path("/sys/fs/cgroup")
NEW_PLACES = ["--fork", "--kill-child", "--pid", "--mount", "--ipc", "--uts", "--cgroup"]
# What the first process is told instead of a machine's own units: its folders are ours alone.
ENVIRONMENT = {"container": "other", "SYSTEMD_UNIT_PATH": "/etc/systemd/system", "SYSTEMD_LOG_TARGET": "console",
               "SYSTEMD_LOG_COLOR": "0", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
# Debian's /run, /tmp and cgroups are a machine's own; PID 1 makes the rest itself.
BOOT = r"""
set -e
mount --make-rprivate /
mount -t tmpfs tmpfs "$1"
mkdir "$1"/upper "$1"/work "$1"/root
cp -a "$2"/. "$1"/upper
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" "$1"/root
cd "$1"/root
mount -t tmpfs tmpfs tmp
mount -t tmpfs -o mode=755 tmpfs run
mount --rbind /dev dev
mount -t proc proc proc
mount -t tmpfs tmpfs sys
mkdir -p sys/fs/cgroup
mount -t cgroup2 cgroup2 sys/fs/cgroup
mkdir run/machine
mount --bind "$3" run/machine
exec > run/machine/log 2>&1
mkdir run/old
pivot_root . run/old
umount -l /run/old
mount --make-rshared / # as PID 1 of a container is to find it: else units see no credentials
/usr/bin/systemd-sysusers metricmq.conf
/usr/bin/systemd-tmpfiles --create metricmq.conf
exec /lib/systemd/systemd --system --unit=machine.target --show-status=no
"""


class Impossible(unittest.SkipTest):
    """No such machine can be had here; says why."""


def unified():
    """The folder of the second kind of control groups."""
    for folder in (CONTROL_GROUPS, CONTROL_GROUPS / "unified"):
        if (folder / "cgroup.procs").exists() and (folder / "cgroup.controllers").exists():
            return folder
    raise Impossible("no control groups of the second kind here")


class Machine:
    def __init__(self, folder, program=harness.PROGRAM):
        if os.geteuid() != 0:
            raise Impossible("systemd can be run in namespaces by root only")
        if not pathlib.Path("/lib/systemd/systemd").exists():
            raise Impossible("no systemd here: ops/packages.sh names its package")
        self.files, self.shared, self.mount = (folder / name for name in ("files", "shared", "mount"))
        for made in (self.files, self.shared, self.mount):
            made.mkdir()
        self.shared.chmod(0o777)
        self.group = unified() / f"metricmq-test-{os.getpid()}"
        self.process = None
        self.install(program)

    # ---- before it is booted ----

    def path(self, name):
        """Where a file of the machine lies until it is booted."""
        path = self.files / name.lstrip("/")
        for parent in reversed(path.relative_to(self.files).parents):
            (self.files / parent).mkdir(mode=0o755, exist_ok=True)
        return path

    def write(self, name, text, mode=0o644):
        path = self.path(name)
        path.write_text(text)
        path.chmod(mode)

    def install(self, program):
        shutil.copy(program, self.path("/usr/bin/metricmq"))
        for kind in ("sysusers", "tmpfiles"):
            shutil.copy(UNITS / f"metricmq.{kind}", self.path(f"/usr/lib/{kind}.d/metricmq.conf"))
        for unit in [*UNITS.glob("*.service"), *UNITS.glob("*.target")]:
            shutil.copy(unit, self.path(f"/etc/systemd/system/{unit.name}"))
        self.write("/etc/systemd/system/service.d/log.conf",
                   "[Service]\nStandardOutput=append:/run/machine/log\nStandardError=append:/run/machine/log\n")
        for target in ("machine", "network-online", "multi-user", "shutdown", "sysinit", "basic", "sockets"):
            self.write(f"/etc/systemd/system/{target}.target", "[Unit]\nDefaultDependencies=no\n")

    def drop_in(self, unit, text):
        self.write(f"/etc/systemd/system/{unit}.d/test.conf", text)

    # ---- its life ----

    def boot(self):
        self.group.mkdir()
        enter = f"echo $$ > {self.group}/cgroup.procs; exec setpriv --pdeathsig KILL unshare {' '.join(NEW_PLACES)} bash -c \"$0\" boot \"$@\""
        self.process = subprocess.Popen(["bash", "-c", enter, BOOT, self.mount, self.files, self.shared],
                                        env=ENVIRONMENT, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.PIPE)
        try:
            harness.wait_until(lambda: self.process.poll() is not None or self.is_up(), 30, "systemd")
        except AssertionError:
            self.end()
            raise Impossible(f"systemd does not run here: {self.log()[-1000:]}") from None
        if self.process.poll() is not None:
            error = self.process.stderr.read().decode()
            self.end()
            raise Impossible(f"systemd does not run here: {error[-500:]}{self.log()[-1000:]}")

    def first(self):
        """Its first process, as we see it."""
        text = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return int(text[0]) if text else None

    def is_up(self):
        with contextlib.suppress(OSError):
            first = self.first()
            return first is not None and pathlib.Path(f"/proc/{first}/comm").read_text().strip() == "systemd" \
                and self.run("systemctl", "is-active", "machine.target").returncode == 0
        return False

    def run(self, *command):
        return subprocess.run(["nsenter", "--target", str(self.first()), "--mount", "--pid", "--uts", "--ipc",
                               "--cgroup", *map(str, command)], capture_output=True, text=True,
                              env={"PATH": ENVIRONMENT["PATH"], "SYSTEMD_COLORS": "0"}, timeout=180)

    def control(self, *arguments, check=True):
        """systemctl; what it prints."""
        done = self.run("systemctl", "--no-pager", *arguments)
        if check and done.returncode != 0:
            raise AssertionError(f"systemctl {' '.join(arguments)}: {done.stderr}{self.log()[-3000:]}")
        return done.stdout.strip()

    def show(self, unit, *names):
        """Properties of a unit."""
        lines = self.control("show", *(f"--property={name}" for name in names), unit).splitlines()
        found = dict(line.split("=", 1) for line in lines)
        return found[names[0]] if len(names) == 1 else [found[name] for name in names]

    def is_active(self, unit):
        return self.show(unit, "ActiveState", "SubState") == ["active", "running"]

    def kill(self, unit, number=signal.SIGKILL):
        """Sends the main process a signal; when, on the clock that systemd's own times are of, in seconds."""
        now_s = time.clock_gettime(time.CLOCK_MONOTONIC)
        self.control("kill", f"--signal={int(number)}", "--kill-whom=main", unit)
        return now_s

    def wait_again(self, unit, since_s, timeout=60):
        """Waits until it is ready anew; seconds from `since_s` until then."""
        def found():
            state, entered, started = self.show(unit, "ActiveState", "ActiveEnterTimestampMonotonic",
                                                "ExecMainStartTimestampMonotonic")
            ready_s = int(entered or 0) / 1e6
            return state == "active" and ready_s > since_s and int(started or 0) / 1e6 > since_s and ready_s
        return harness.wait_until(found, timeout, f"{unit} {self.control('status', unit, check=False)}") - since_s

    def data(self):
        """The data folder of its roles, as seen from here."""
        return pathlib.Path(f"/proc/{self.first()}/root/var/lib/metricmq")

    def check(self):
        """Its store must be whole."""
        done = self.run("metricmq", "check", "--data", "/var/lib/metricmq")
        assert done.returncode == 0, done.stdout + done.stderr

    def log(self):
        path = self.shared / "log"
        return path.read_text("utf-8", "replace") if path.exists() else ""

    def end(self):
        if self.process is not None:
            self.process.kill()  # and with it its first process, and with that all of them
            self.process.wait()
            self.process.stderr.close()
        harness.wait_until(self.remove_groups, 30, "the end of all processes")

    def remove_groups(self):
        if not self.group.exists():
            return True
        with contextlib.suppress(OSError):
            for folder in sorted(self.group.rglob("*"), reverse=True):
                if folder.is_dir():
                    folder.rmdir()
            self.group.rmdir()
        return not self.group.exists()

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind and self.process is not None:
            print(self.log()[-6000:])
        self.end()
