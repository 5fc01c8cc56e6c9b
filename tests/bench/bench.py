"""What the benchmarks share: programs on one CPU, their CPU time, rounds of interleaved measurements.

A wake-up from one CPU to another is slow and of two speeds on virtual machines, so everything runs on one CPU
unless a benchmark says otherwise, and a figure is a ratio of two that were measured in the same run, in turn.
"""
import contextlib
import json
import os
import pathlib
import select
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import harness  # noqa: E402

BUILD = pathlib.Path(os.environ.get("METRICMQ_BUILD", harness.SOURCE / "build" / "release"))
harness.PROGRAM = os.environ.get("METRICMQ_PROGRAM", str(BUILD / "metricmq"))
OCTETS = "Accept: application/octet-stream"
DEADLINE_S = 600  # of one program in one measurement


def tool(name):
    return str(BUILD / "tests" / name)


CPUS = os.sched_getaffinity(0)


def pin(one):
    """From now on this process and its children run on one CPU, or on all."""
    os.sched_setaffinity(0, {min(CPUS)} if one else CPUS)


def cpu_seconds(pid):
    """User and system time of a process so far, threads that ended included."""
    return time.clock_gettime((~pid << 3) | 2)  # the kernel's name for the CPU clock of another process


class Failed(Exception):
    """A measurement could not be made."""


def run(args, stdin=None):
    """Runs a program to its end: {"cpu", "wall", "out"}. Its CPU time is all of it, from its start."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        start = time.monotonic()
        process = subprocess.Popen([*map(str, args)], stdin=stdin or subprocess.DEVNULL, stdout=out, stderr=err)
        _, status, used = os.wait4(process.pid, 0)
        wall = time.monotonic() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        if process.returncode != 0:
            raise Failed(f"{' '.join(map(str, args))[:300]}: exit {process.returncode}\n"
                         + err.read().decode("utf-8", "replace")[-2000:])
        return {"cpu": used.ru_utime + used.ru_stime, "wall": wall, "out": out.read().decode()}


def reap(process):
    """Waits for a program that was started; its CPU time."""
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise Failed(f"{process.args[0]}: exit {process.returncode}")
    return used.ru_utime + used.ru_stime


def measure(name, *args, lines=None):
    """What a tool of ours says of itself: {"cpu", "wall", ...}; "process_cpu" is all of its CPU time."""
    with contextlib.ExitStack() as stack:
        stdin = None
        if lines is not None:
            stdin = stack.enter_context(tempfile.TemporaryFile())
            stdin.write("".join(line + "\n" for line in lines).encode())
            stdin.seek(0)
        done = run([tool(name), *args], stdin=stdin)
    return {**json.loads(done["out"]), "process_cpu": done["cpu"]}


def curl(url, *headers):
    """Reads a URL to /dev/null: {"cpu", "wall", "bytes"}."""
    options = [part for header in headers for part in ("-H", header)]
    done = run(["curl", "-sS", "--fail", "-o", "/dev/null", "-w", "%{size_download}", *options, url])
    return {**done, "bytes": int(done["out"])}


def beside(pids, work):
    """Does work() and adds the CPU time that other processes used meanwhile: "server_cpu", and "all_cpu" with that
    of the program that work ran."""
    before = sum(map(cpu_seconds, pids))
    done = work()
    server = sum(map(cpu_seconds, pids)) - before
    return {**done, "server_cpu": server, "all_cpu": server + done.get("process_cpu", done["cpu"])}


@contextlib.contextmanager
def serving(name, *args, lines=1):
    """A server that runs until it is killed: (pid, its first lines)."""
    process = subprocess.Popen([tool(name), *map(str, args)], stdout=subprocess.PIPE, text=True)
    try:
        if not select.select([process.stdout], [], [], 30)[0]:
            raise Failed(f"{name} does not start")
        yield process.pid, [process.stdout.readline().strip() for _ in range(lines)]
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@contextlib.contextmanager
def up(store, *args):
    """`metricmq up` on a data set's store, everything else in a folder that is thrown away."""
    with tempfile.TemporaryDirectory(prefix="metricmq-bench-") as data:
        with harness.up(data, "--store", store.url, *args, timeout=600) as program:
            program.pid = program.process.pid
            program.port = program.ready["http"].rstrip("/").rsplit(":", 1)[1]
            yield program


def rounds(repeats, cases):
    """Measures the cases in turn, so often: {case: [sample, ...]}. A round before those is thrown away: it finds
    cold caches."""
    samples = {name: [] for name in cases}
    for number in range(repeats + 1):
        for name, work in cases.items():
            sample = work()
            if number > 0:
                samples[name].append(sample)
    return samples


def values(samples, function):
    return [function(sample) for sample in samples]


def load(*args):
    """The report of one run of `metricmq load`, whatever its exit status."""
    done = subprocess.run([harness.PROGRAM, "load", "--json", *map(str, args)], capture_output=True, text=True)
    if done.returncode not in (0, 1):
        raise Failed(done.stderr)
    return json.loads(done.stdout)


def broker(*args):
    return harness.Program("broker", "--bind", harness.LOCAL, "--bind-workers", harness.LOCAL, *args)


def connected(program):
    """The options that lead `metricmq load` to a broker."""
    return ("--connect", program.ready["clients"], "--connect-workers", program.ready["workers"])


@contextlib.contextmanager
def echo_workers(program, *args):
    """Workers of `metricmq load` at a broker, in a process of their own: its pid."""
    process = subprocess.Popen([harness.PROGRAM, "load", "--clients", "0", *map(str, args), *connected(program)],
                               stdout=subprocess.PIPE, text=True)
    try:
        process.stdout.readline()  # "ready"
        yield process.pid
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()
