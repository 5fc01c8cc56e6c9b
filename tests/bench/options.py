"""How large and how often: what a run of the benchmarks was asked for."""
import argparse
import dataclasses
import pathlib

import harness

THEMES = {
    "store": "Store: columns and frames of one process",
    "bulk": "Bulk: all rows through `up`",
    "small": "Small: one request at a time",
    "adapter": "HTTP adapter: many connections",
    "many": "Many: the last row of each metric",
    "summary": "Summary: rows in buckets of time, beside all rows",
    "encoders": "Encoders",
    "ingest": "Ingest",
    "disk": "Disk",
    "dump": "Dumps: archives of feedback",
    "upload": "Uploads to an object store",
    "prune": "Prune: half of the rows go while readers ask; backups",
    "watch": "Watch: 1,000 viewers, alone and beside a burst of rows",
    "memory": "Memory",
    "roles": "Roles: memory and CPU of each process",
    "sizes": "Sizes: the greatest against the least",
    "curve": "CURVE: what encryption and keys cost",
    "broker_cost": "Broker against the smallest forwarder",
    "fairness": "Fairness",
    "overload": "Overload",
    "crowd": "Crowd",
    "engines": "Engines: the store in PostgreSQL beside SQLite",
    "migrate": "Migrate: a store to PostgreSQL and back",
    "peers": "Peers: PostgreSQL and InfluxDB",
}


@dataclasses.dataclass
class Sizes:
    """(metrics, rows a metric) of the data sets, and how many requests are asked."""
    one: tuple = (1, 10_000_000)
    hundred: tuple = (100, 100_000)
    many: tuple = ((10_000, 10_000), (100_000, 1_000))
    engines_many: tuple = (10_000, 1_000)
    memory: tuple = ((100, 10_000), (100, 100_000))
    curve_rows: tuple = (10_000, 100_000, 1_000_000, 10_000_000)
    curve_metrics: tuple = ((1, 1_000_000), (10, 100_000), (100, 10_000), (1_000, 1_000), (10_000, 100),
                            (100_000, 10))
    dump_small: tuple = (1, 100_000)
    prune: tuple = (1_000, 10_000)
    upload_mib: int = 256
    queries: int = 5_000
    requests: int = 2_000
    peers_all: tuple = (100, 5_000)
    peers_large: tuple = (100, 100_000)
    encoder_rows: int = 1_000_000


FULL = Sizes(prune=(1_000, 100_000), memory=((100, 10_000), (100, 100_000), (10_000, 10_000)),
             curve_rows=(10_000, 100_000, 1_000_000, 10_000_000, 100_000_000))
QUICK = Sizes(one=(1, 200_000), hundred=(100, 2_000), dump_small=(1, 10_000), prune=(200, 5_000), upload_mib=80, many=((100, 100), (1_000, 100)),
              engines_many=(500, 50), memory=((100, 200), (100, 2_000)), curve_rows=(1_000, 10_000, 200_000),
              curve_metrics=((1, 20_000), (10, 2_000), (100, 200), (1_000, 20)), queries=500, requests=300,
              peers_all=(20, 1_000), peers_large=(20, 5_000), encoder_rows=50_000)


def parse(args=None):
    parser = argparse.ArgumentParser(prog="ops/bench", description="Measures metricmq beside references.")
    parser.add_argument("names", nargs="*", metavar="NAME",
                        help="of " + ", ".join(THEMES) + " (default: all but peers)")
    parser.add_argument("--repeats", type=int, help="rounds of each measurement (default 5)")
    parser.add_argument("--seconds", type=float, help="of one run of those that run for a time")
    parser.add_argument("--full", action="store_true", help="also 10^8 rows, and --peers")
    parser.add_argument("--peers", action="store_true", help="race PostgreSQL and InfluxDB, which are installed")
    parser.add_argument("--quick", action="store_true", help="small data: does it work at all")
    parser.add_argument("--json", metavar="FILE", help="write the figures there")
    parser.add_argument("--svg", metavar="DIR", type=pathlib.Path,
                        help="draw the charts there (default docs/bench; with names or --quick: not at all)")
    options = parser.parse_args(args)
    unknown = set(options.names) - set(THEMES)
    if unknown:
        parser.error(f"no benchmark is called {', '.join(sorted(unknown))}")
    return complete(options)


def complete(options):
    peers = options.peers or options.full or "peers" in options.names
    if not options.names and not (options.peers and not options.full):
        options.names = [name for name in THEMES if name != "peers"]
        options.svg = options.svg or (None if options.quick else harness.SOURCE / "docs" / "bench")
    options.names = [name for name in THEMES if name in options.names or (name == "peers" and peers)]
    options.repeats = options.repeats or (2 if options.quick else 5)
    options.curve_repeats = min(options.repeats, 3)
    options.sizes = QUICK if options.quick else FULL if options.full else Sizes()
    return options
