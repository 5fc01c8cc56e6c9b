"""Single requests: one day of one metric and the last row of one, from a client to `up` and back over TCP, one at a
time; against an echo of the same size through our own broker and an echo worker."""
import bench
import datasets

WARMUP = 100  # requests, of bench_reader and bench_http alike


def ask(pids, endpoint, what, count, *args):
    """CPU of all processes for each request, and the median round trip."""
    sample = bench.beside(pids, lambda: bench.measure("bench_reader", what, endpoint, count, *args))
    return per_request(sample, count)


def per_request(sample, count):
    server = sample["server_cpu"] / (count + WARMUP)
    return {**sample, "us": (server + sample["cpu"] / count) * 1e6, "size": round(sample["bytes"] / count)}


def ask_http(program, count, paths):
    sample = bench.beside([program.pid], lambda: bench.measure("bench_http", program.port, 1, count, WARMUP,
                                                               bench.OCTETS, lines=paths))
    return per_request(sample, count)


def days(store, count):
    """(uid, begin) of so many days, spread over metrics and time."""
    first, last = store.span
    span = max(1, last - first - 86400)
    return [(store.uids[number * 7919 % store.metrics], first + number * 104729 * 300 % span)
            for number in range(count)]


def day_paths(store, count=1000):
    return [f"/_models/{uid}/data?from={day}&to={day + 86399}" for uid, day in days(store, count)]


def measure(options, store):
    count, uids = options.sizes.requests, store.uids[:100]
    with bench.up(store) as program, bench.broker() as broker, bench.echo_workers(broker, "--workers", 1) as workers:
        def query(what, *args):
            return ask([program.pid], program.ready["clients"], what, count, *args)

        def echo(size):
            return ask([broker.process.pid, workers], broker.ready["clients"], "echo", count, size)

        day = query("day", *store.span, *uids)["size"]
        last = query("last", *uids)["size"]
        return bench.rounds(options.repeats, {
            "day": lambda: query("day", *store.span, *uids), "echo of a day": lambda: echo(day),
            "last": lambda: query("last", *uids), "echo of a row": lambda: echo(last),
            "day over HTTP": lambda: ask_http(program, count, day_paths(store)),
            "last over HTTP": lambda: ask_http(program, count, [f"/_models/{uid}/data?limit=1" for uid in uids]),
        })


def main(options, report):
    samples = measure(options, datasets.store(*options.sizes.hundred).warm())
    cost = {name: bench.values(many, lambda sample: sample["us"]) for name, many in samples.items()}
    p50 = {name: bench.values(many, lambda sample: sample["p50_us"]) for name, many in samples.items()}
    report.compare("day_bus", "us CPU", cost["day"], cost["echo of a day"], "ratio <= 1.5")
    report.compare("day_bus_p50", "us", p50["day"], p50["echo of a day"])
    report.compare("last_bus", "us CPU", cost["last"], cost["echo of a row"], "ratio <= 1.5")
    report.compare("last_bus_p50", "us", p50["last"], p50["echo of a row"])
    report.compare("day_http", "us CPU", cost["day over HTTP"], cost["day"])
    report.value("day_http_p50", "us", p50["day over HTTP"])
    report.compare("last_http", "us CPU", cost["last over HTTP"], cost["last"])
