"""The HTTP adapter: what a small query costs when 64 connections ask at once, beside the same bytes from memory and
the same queries over the bus; what idle connections cost, and a query beside them."""
import contextlib
import resource
import socket
import time

import bench
import datasets
import small

CONNECTIONS = 64
IDLE = 4096 - CONNECTIONS  # connections-max is 4,096
POOL = 24 * 1024  # libmicrohttpd's, of a connection (clients/http/http.c)


def paths(store):
    return [f"/_models/{uid}/data?limit=1" for uid in store.uids[:100]]


def ask_http(pid, port, count, lines):
    sample = bench.beside([pid], lambda: bench.measure("bench_http", port, CONNECTIONS, count, small.WARMUP,
                                                       bench.OCTETS, lines=lines))
    return {**sample, "us": sample["server_cpu"] / (count + small.WARMUP) * 1e6, "size": round(sample["bytes"] / count)}


def ask_alone(program, count, lines):
    """For a second after others have asked, one client has a quarter of the workers only."""
    ask_http(program.pid, program.port, CONNECTIONS, lines)
    time.sleep(1.1)
    return ask_http(program.pid, program.port, count, lines)


def ask_bus(program, seconds):
    """The last rows of metrics, by 64 clients over TCP."""
    def work():
        found = bench.load(*bench.connected(program)[:2], "--mix", "small=1", "--clients", CONNECTIONS, "--warmup", "0",
                           "--duration", f"{seconds * 1000:.0f}ms")
        return {"cpu": 0, "requests": found["total"]["requests"]}

    sample = bench.beside([program.pid], work)
    return {**sample, "us": sample["server_cpu"] / sample["requests"] * 1e6}


def measure_requests(options, store):
    count, lines = 5 * options.sizes.requests, paths(store)
    with bench.up(store) as program:
        size = ask_http(program.pid, program.port, count, lines)["size"]
        with bench.serving("bench_floor", "http", size) as (server, (url,)):
            port = url.rsplit(":", 1)[1]
            return bench.rounds(options.repeats, {
                "http": lambda: ask_alone(program, count, lines),
                "memory": lambda: ask_http(server, port, count, lines),
                "bus": lambda: ask_bus(program, options.seconds or (0.3 if options.quick else 1)),
            })


@contextlib.contextmanager
def idle_connections(program, count, line):
    """Connections that have asked once, and stay."""
    request = f"GET {line} HTTP/1.1\r\nHost: localhost\r\n{bench.OCTETS}\r\n\r\n".encode()
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            peer = stack.enter_context(socket.create_connection(("127.0.0.1", int(program.port)), timeout=60))
            peer.sendall(request)
            if not peer.recv(65536):
                raise bench.Failed("an idle connection was closed")
        yield


def measure_idle(options, store):
    """(bytes of a connection, samples of queries one at a time with and without them)"""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    count = min(IDLE, hard - 200, 200 if options.quick else IDLE)
    lines, asked = paths(store), options.sizes.requests
    with bench.up(store, "--idle-timeout", "600s") as program:
        def ask():
            return bench.measure("bench_http", program.port, 1, asked, small.WARMUP, bench.OCTETS, lines=lines)

        ask()
        before = program.rss()
        with idle_connections(program, count, lines[0]):
            cost = (program.rss() - before) / count

        def beside():
            with idle_connections(program, count, lines[0]):
                return ask()

        return count, cost, bench.rounds(options.repeats, {"alone": ask, "beside": beside})


def main(options, report):
    store = datasets.store(*options.sizes.hundred).warm()
    samples = measure_requests(options, store)
    cost = {name: bench.values(many, lambda sample: sample["us"]) for name, many in samples.items()}
    report.compare("adapter_small", "us CPU", cost["http"], cost["memory"], "ratio <= 4")
    report.compare("adapter_small_bus", "us CPU", cost["http"], cost["bus"])
    report.compare("adapter_bus_memory", "us CPU", cost["bus"], cost["memory"])
    count, bytes_each, queries = measure_idle(options, store)
    report.show(f"  {count:,} idle connections")
    report.value("adapter_idle", "bytes more", [bytes_each - POOL], "value <= 2048")
    for name in ("p50_us", "p99_us"):
        found = {case: bench.values(many, lambda sample: sample[name]) for case, many in queries.items()}
        report.compare(f"adapter_beside_{name.removesuffix('_us')}", "us", found["beside"], found["alone"],
                       "ratio <= 1.5" if name == "p99_us" else None)
