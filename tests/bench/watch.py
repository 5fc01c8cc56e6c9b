"""1,000 who view GET /_watch while a writer commits: memory and CPU a viewer; what they cost those who query beside a
burst of 10,000 rows/s. Viewers and writer are processes of their own, which only read, and only write."""
import contextlib
import selectors
import socket
import subprocess
import sys
import time

import bench
import bus
import datasets
from prune import copy_of

PINNED = False  # as it would be
RATE = 400  # queries a second
COMMITS = 10  # a second, for the memory and CPU of viewers
BURST = (20, 500)  # commits a second, rows each


def connect(port):
    peer = socket.create_connection(("127.0.0.1", port))
    peer.setblocking(True)
    return peer


def view(port, count, path):
    """The child that views: says "ready" when all have been answered, and at the end how many events it read."""
    selector, events, welcomed = selectors.EpollSelector(), 0, set()
    for _ in range(count):
        peer = connect(port)
        peer.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        selector.register(peer, selectors.EVENT_READ)
    selector.register(sys.stdin, selectors.EVENT_READ)
    while True:
        for key, _ in selector.select():
            if key.fileobj is sys.stdin:
                print(events, flush=True)
                return
            text = key.fileobj.recv(1 << 16)
            if not text:
                raise SystemExit("a viewer was cut")
            events += text.count(b"event: ")
            if len(welcomed) < count:
                welcomed.add(key.fd)
                if len(welcomed) == count:
                    print("ready", flush=True)


def write(endpoint, commits, rows, seconds):
    """The child that writes, on a schedule."""
    with bus.Bus(endpoint) as client:
        client.call("metric.write", {"op": "create", "metric": {"uid": "watched", "datasource": "custom", "name": "watched"}})
        print("ready", flush=True)
        start = time.monotonic()
        for number in range(int(commits * seconds)):
            packed = bus.pack_rows([(1500000000 + number, 1.5, None, None)] * rows)
            client.call("metric.write", {"op": "append", "uid": "watched", "rows": packed})
            time.sleep(max(0.0, start + (number + 1) / commits - time.monotonic()))
    print("done", flush=True)


@contextlib.contextmanager
def child(*args):
    process = subprocess.Popen([sys.executable, __file__, *map(str, args)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               text=True)
    try:
        if process.stdout.readline().strip() != "ready":
            raise bench.Failed(f"{args[0]} did not begin")
        yield process
        process.stdin.close()
        process.tail = process.stdout.read()
        if process.wait() != 0:
            raise bench.Failed(f"{args[0]}: exit {process.returncode}")
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@contextlib.contextmanager
def viewers(program, count, path="/_watch"):
    if count == 0:
        yield None
        return
    with child("view", program.port, count, path) as process:
        yield process


def writing(program, seconds, commits, rows):
    return child("write", program.ready["clients"], commits, rows, seconds)


def cost(store, count, seconds):
    """Bytes and CPU seconds a second of the program, with so many viewers and a writer of COMMITS a second."""
    with copy_of(store) as copy, bench.up(copy, "--connections-per-address", 0) as program:
        before = program.rss()
        with viewers(program, count) as process, writing(program, seconds, COMMITS, 1):
            start, used = time.monotonic(), bench.cpu_seconds(program.pid)
            time.sleep(seconds)
            sample = {"cpu": (bench.cpu_seconds(program.pid) - used) / (time.monotonic() - start),
                      "memory": program.rss() - before}
        sample["events"] = int(process.tail) if process else 0
        return sample


def burst(store, count, seconds):
    """The 99th percentile of queries beside the burst."""
    with copy_of(store) as copy, bench.up(copy, "--connections-per-address", 0) as program:
        with viewers(program, count), writing(program, seconds + 2, *BURST):
            report = bench.load(*bench.connected(program), "--mix", "small=9,day=1", "--clients", 8, "--rate", RATE,
                                "--duration", f"{seconds * 1000:.0f}ms", "--warmup", "500ms", "--seed", 1)
        if sum(report["total"]["errors"].values()) > 0:
            raise bench.Failed(f"readers got errors: {report['total']['errors']}")
        return report["total"]["latency_ms"]["p99"]


def main(options, report):
    seconds = options.seconds or (1 if options.quick else 8)
    count = 50 if options.quick else 1000
    store = datasets.store(*options.sizes.prune).warm()
    costs = bench.rounds(min(options.repeats, 3), {0: lambda: cost(store, 0, seconds), count: lambda: cost(store, count, seconds)})
    idle = [sample["cpu"] for sample in costs[0]]
    report.show(f"  {costs[count][0]['events'] / count / seconds:.1f} events a second for each of {count:,} viewers")
    report.value("watch_memory", "KiB/viewer", bench.values(costs[count], lambda sample: sample["memory"] / count / 1024))
    report.value("watch_cpu", "us/s/viewer", [(sample["cpu"] - less) / count * 1e6
                                              for sample, less in zip(costs[count], idle)])
    times = bench.rounds(min(options.repeats, 3), {0: lambda: burst(store, 0, seconds), count: lambda: burst(store, count, seconds)})
    report.compare("watch_burst_p99", "ms", times[count], times[0], "ratio <= 1.5")


if __name__ == "__main__":
    if sys.argv[1] == "view":
        view(int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
    else:
        write(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), float(sys.argv[5]))
