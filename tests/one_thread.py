"""Stops one thread of a process while the others go on, as a debugger does (ptrace)."""
import ctypes
import os
import pathlib

SEIZE, INTERRUPT, DETACH = 0x4206, 0x4207, 17
WALL = 0x40000000  # waits for threads too
libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]


def called(pid, name):
    """The threads of that name, oldest first."""
    threads = sorted(map(int, os.listdir(f"/proc/{pid}/task")))
    return [thread for thread in threads if thread != pid
            and pathlib.Path(f"/proc/{pid}/task/{thread}/comm").read_text().strip() == name]


def trace(request, thread):
    if libc.ptrace(request, thread, None, None) != 0:
        raise OSError(ctypes.get_errno(), f"ptrace {request:#x}")


class Stopped:
    """with Stopped(pid, "broker"): that thread makes no progress; index: which of that name."""

    def __init__(self, pid, name, index=0):
        self.thread = called(pid, name)[index]

    def __enter__(self):
        trace(SEIZE, self.thread)
        trace(INTERRUPT, self.thread)
        os.waitpid(self.thread, WALL)
        return self

    def __exit__(self, *_):
        trace(DETACH, self.thread)
