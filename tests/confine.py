"""Runs a program within what a unit of ops/systemd leaves it of system calls, as systemd would, but whoever steps
outside is killed: confine.py UNIT PROGRAM ARGUMENT...

SystemCallFilter= with systemd's own groups, RestrictAddressFamilies=, MemoryDenyWriteExecute=, RestrictNamespaces=.
"""
import errno
import os
import pathlib
import socket
import subprocess
import sys

import seccomp

UNITS = pathlib.Path(__file__).resolve().parent.parent / "ops" / "systemd"
PROT_WRITE, PROT_EXEC = 2, 4
# SQLite gives a log the store's owner, if it is root; elsewhere nobody asks.
TOLERATED = {"fchown": errno.EPERM}


def settings(unit):
    """All of a unit's settings, in order: [(name, value)]."""
    lines = (UNITS / unit).read_text().splitlines()
    return [tuple(line.split("=", 1)) for line in lines if line and line[0] not in "#["]


def of(unit, name):
    return [value for found, value in settings(unit) if found == name]


def group(name):
    """The system calls of systemd's group."""
    done = subprocess.run(["systemd-analyze", "syscall-filter", name], check=True, capture_output=True, text=True)
    words = [line.split()[0] for line in done.stdout.splitlines()[1:] if line.strip() and line.strip()[0] != "#"]
    return set().union(*[group(word) if word[0] == "@" else {word} for word in words])


def allowed(unit):
    calls = set()
    for value in of(unit, "SystemCallFilter"):
        names = [group(word) if word[0] == "@" else {word} for word in value.removeprefix("~").split()]
        calls = calls - set().union(*names) if value[0] == "~" else calls.union(*names)
    return calls | group("@default")  # which systemd adds


def load_conditions(unit):
    rules = seccomp.SyscallFilter(seccomp.ALLOW)
    both = PROT_WRITE | PROT_EXEC
    rules.add_rule(seccomp.KILL_PROCESS, "mmap", seccomp.Arg(2, seccomp.MASKED_EQ, both, both))
    rules.add_rule(seccomp.KILL_PROCESS, "mprotect", seccomp.Arg(2, seccomp.MASKED_EQ, PROT_EXEC, PROT_EXEC))
    rules.add_rule(seccomp.ERRNO(errno.ENOSYS), "clone3")  # its flags cannot be looked at: glibc takes clone
    known = {getattr(socket, name) for value in of(unit, "RestrictAddressFamilies") for name in value.split()}
    for family in set(range(64)) - known:
        rules.add_rule(seccomp.ERRNO(errno.EAFNOSUPPORT), "socket", seccomp.Arg(0, seccomp.EQ, family))
    rules.load()


def load_calls(unit):
    rules = seccomp.SyscallFilter(seccomp.KILL_PROCESS)
    for call in sorted(allowed(unit)):
        try:
            rules.add_rule(seccomp.ALLOW, call)
        except (RuntimeError, ValueError, OSError):
            continue  # of another machine, or younger than libseccomp
    for call, number in TOLERATED.items():
        if call not in allowed(unit):
            rules.add_rule(seccomp.ERRNO(number), call)
    rules.load()


if __name__ == "__main__":
    load_conditions(sys.argv[1])
    load_calls(sys.argv[1])
    os.execv(sys.argv[2], sys.argv[2:])
