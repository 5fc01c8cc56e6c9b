"""All rows through the whole of `up`: over the bus by a C client, over HTTP by curl; against the smallest forwarder
of the same bytes, and libmicrohttpd answering them from memory."""
import contextlib
import subprocess
import time

import bench
import datasets


def read_bus(program, store, what, uid):
    sample = bench.beside([program.pid], lambda: bench.measure("bench_reader", what, program.ready["clients"], uid))
    if sample.get("rows", store.total) != store.total:
        raise bench.Failed(f"{sample['rows']:.0f} rows of {store.total} came over the bus")
    return sample


def read_http(program, path):
    return bench.beside([program.pid], lambda: bench.curl(program.ready["http"].rstrip("/") + path, bench.OCTETS))


def forward(forwarder, ends, size):
    """Passes so many bytes through the forwarder: all its processes' CPU time, and the time it took."""
    front, back = ends

    def pass_bytes():
        receiver = subprocess.Popen([bench.tool("bench_floor"), "receive", back, str(size)],
                                    stdout=subprocess.DEVNULL)
        start = time.monotonic()
        sender = bench.run([bench.tool("bench_floor"), "send", front, size])
        used = bench.reap(receiver)
        return {"cpu": sender["cpu"] + used, "wall": time.monotonic() - start, "bytes": size}

    return bench.beside([forwarder], pass_bytes)


def memory_http(server, url):
    return bench.beside([server], lambda: bench.curl(url))


def measure(options, one, hundred):
    uid = one.uids[0]
    with contextlib.ExitStack() as stack:
        single, many = stack.enter_context(bench.up(one)), stack.enter_context(bench.up(hundred))
        size = int(read_bus(single, one, "decode", uid)["bytes"])
        forwarder, ends = stack.enter_context(
            bench.serving("bench_floor", "forward", "tcp://127.0.0.1:*", "tcp://127.0.0.1:*", lines=2))
        server, (url,) = stack.enter_context(bench.serving("bench_floor", "http", size))
        samples = bench.rounds(options.repeats, {
            "forwarder": lambda: forward(forwarder, ends, size),
            "one": lambda: read_bus(single, one, "drop", uid),
            "all": lambda: read_bus(many, hundred, "drop", "-"),
            "decoded": lambda: read_bus(single, one, "decode", uid),
            "http": lambda: read_http(single, f"/_models/{uid}/data"),
            "http all": lambda: read_http(many, "/_models/data"),
            "memory": lambda: memory_http(server, url),
        })
    if {sample["bytes"] for name in ("one", "decoded", "http") for sample in samples[name]} != {size}:
        raise bench.Failed(f"not all answers were of {size} bytes")
    return samples


def main(options, report):
    one = datasets.store(*options.sizes.one).warm()
    hundred = datasets.store(*options.sizes.hundred).warm()
    samples = measure(options, one, hundred)
    cost = {name: bench.values(many, lambda sample: sample["all_cpu"] / one.total * 1e9)
            for name, many in samples.items()}
    wall = {name: bench.values(many, lambda sample: one.total / sample["wall"] / 1e6)
            for name, many in samples.items()}
    report.compare("bus_one", "ns CPU/row", cost["one"], cost["forwarder"], "ratio <= 1.6")
    report.compare("bus_one_wall", "Mrows/s", wall["one"], wall["forwarder"], "ratio >= 0.6")
    report.compare("bus_all", "ns CPU/row", cost["all"], cost["one"], "ratio <= 1.4")
    report.compare("bus_all_wall", "Mrows/s", wall["all"], wall["forwarder"])
    report.compare("bus_one_decoded", "ns CPU/row", cost["decoded"], cost["one"])
    report.compare("http_one", "ns CPU/row", cost["http"], cost["one"], "ratio <= 1.3")
    report.compare("http_one_wall", "Mrows/s", wall["http"], wall["one"])
    report.compare("http_all", "ns CPU/row", cost["http all"], cost["all"])
    report.compare("http_one_memory", "ns CPU/row", cost["http"], cost["memory"])
