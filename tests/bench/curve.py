"""What CURVE costs: the same requests through the same broker with keys and without, in turn. Small echoes: the checks
of each message's key and rights; large ones and streams: the encryption of every byte, at both ends."""
import contextlib
import os
import pathlib
import tempfile

import bench
import bus_keys
import datasets

SMALL, LARGE = 64, 1 << 20


class Side:
    """A broker, echo workers and a query worker, with keys or without: every message goes over TCP twice."""

    def __init__(self, stack, store, keys):
        self.keys = keys
        self.broker = stack.enter_context(bench.broker(*(("--curve", keys) if keys else ())))
        self.workers = stack.enter_context(bench.echo_workers(self.broker, "--workers", 2, "--capacity", 64,
                                                              *self.options("workers/load")))
        self.query = stack.enter_context(bench.harness.Program(
            "worker", "query", "--connect", self.broker.ready["workers"], "--store", store.url,
            *self.options("workers/load")))
        self.uid = store.uids[0]

    def options(self, path):
        return bus_keys.options(self.keys, path) if self.keys else ()

    def echo(self, size, in_flight, seconds):
        """Requests and MB (of one way) a second, median round trip, CPU of the broker for a request."""
        def work():
            done = bench.load("--op", "echo", *bench.connected(self.broker), "--size", size, "--clients",
                              min(8, in_flight), "--concurrency", in_flight, "--warmup", 0, "--duration",
                              f"{seconds * 1000:.0f}ms", *self.options("clients/load"))
            return {**done["total"], "cpu": 0}

        done = bench.beside([self.broker.process.pid], work)
        rate = done["goodput_per_second"]
        return {"rate": rate, "mb": rate * size / 1e6, "p50": done["latency_ms"]["p50"] * 1000,
                "cpu": done["server_cpu"] / (rate * seconds) * 1e6}

    def stream(self):
        """All rows of a metric."""
        key, server = (self.options("clients/load")[1::2] if self.keys else (None, None))
        with environment(METRICMQ_CURVE_KEY=key, METRICMQ_CURVE_SERVER=server):
            pids = [self.broker.process.pid, self.query.process.pid]
            done = bench.beside(pids, lambda: bench.measure("bench_reader", "drop", self.broker.ready["clients"],
                                                            self.uid))
        return {"mb": done["bytes"] / done["wall"] / 1e6, "cpu": done["all_cpu"] / done["bytes"] * 1e9}


@contextlib.contextmanager
def environment(**values):
    """Sets these variables for a while; None: leaves it alone."""
    old = dict(os.environ)
    os.environ.update({name: str(value) for name, value in values.items() if value is not None})
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(old)


def make_keys(folder):
    return bus_keys.folder_of_keys(folder, [("load", "read,admin")], [("load", "load.echo,metric.query")])


def measure(options, store, seconds):
    with contextlib.ExitStack() as stack:
        folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="metricmq-bench-")))
        sides = {"curve": Side(stack, store, make_keys(folder / "keys")), "plain": Side(stack, store, None)}
        works = {"small": lambda side: side.echo(SMALL, 64, seconds), "one": lambda side: side.echo(SMALL, 1, seconds),
                 "large": lambda side: side.echo(LARGE, 4, seconds), "stream": Side.stream}
        return bench.rounds(options.repeats, {(name, kind): lambda work=work, side=side: work(side)
                                              for name, work in works.items() for kind, side in sides.items()})


def main(options, report):
    seconds = options.seconds or (0.3 if options.quick else 2.0)
    samples = measure(options, datasets.store(*options.sizes.one).warm(), seconds)

    def compare(name, unit, case, figure):
        of = {kind: bench.values(samples[case, kind], lambda sample: sample[figure]) for kind in ("curve", "plain")}
        report.compare(name, unit, of["curve"], of["plain"])

    compare("curve_requests", "requests/s", "small", "rate")
    compare("curve_requests_cpu", "us broker CPU", "small", "cpu")
    compare("curve_one_p50", "us", "one", "p50")
    compare("curve_large", "MB/s", "large", "mb")
    compare("curve_stream", "MB/s", "stream", "mb")
    compare("curve_stream_cpu", "ns CPU/byte", "stream", "cpu")
