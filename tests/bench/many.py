"""The last row of each of very many metrics, over HTTP: what the server spends on it."""
import bench
import datasets


def measure(options, sets):
    samples = {}
    for store in sets:
        with bench.up(store.warm()) as program:
            url = program.ready["http"].rstrip("/") + "/_models/data?limit=1"
            cases = {(store.metrics, "json"): lambda: bench.beside([program.pid], lambda: bench.curl(url)),
                     (store.metrics, "msgpack"): lambda: bench.beside([program.pid],
                                                                      lambda: bench.curl(url, bench.OCTETS))}
            samples.update(bench.rounds(options.repeats, cases))
    return samples


def main(options, report):
    sets = [datasets.store(*size) for size in options.sizes.many]
    report.show("  " + ", ".join(f"{store.metrics:,} metrics of {store.rows:,} rows" for store in sets))
    samples = measure(options, sets)
    few, lot = (store.metrics for store in sets)
    for form in ("json", "msgpack"):
        cost = {metrics: bench.values(samples[metrics, form], lambda sample: sample["server_cpu"] * 1000)
                for metrics in (few, lot)}
        report.value(f"limit1_10k_{form}", "ms CPU", cost[few], "value <= 100")
        report.compare(f"limit1_100k_{form}", "ms CPU", cost[lot], cost[few], "ratio <= 12")
