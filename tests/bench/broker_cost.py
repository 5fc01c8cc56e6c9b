#!/usr/bin/python3
"""What the broker costs over the smallest forwarder that passes the same frames: CPU time of its process for one
echo, rate with 64 requests in flight, median round trip of one alone. All on one CPU, interleaved."""
import re
import subprocess

import bench

CASES = [("64 in flight, 1 worker", 1, 64), ("64 in flight, 8 workers", 8, 64), ("1 in flight, 1 worker", 1, 1)]
KINDS = ["bare forwarder (3 frames)", "forwarder (MDP frames)", "metricmq broker"]


def forwarder(mode):
    """A started forwarder: (process, clients' endpoint, workers' endpoint)."""
    process = subprocess.Popen([bench.tool("bench_forwarder"), mode, "tcp://127.0.0.1:*", "tcp://127.0.0.1:*"],
                               stdout=subprocess.PIPE, text=True)
    clients, workers = process.stdout.readline().split()[2:]
    return process, clients, workers


def run_peers(pid, mode, clients, workers, case, seconds):
    _, count, in_flight = case
    before = bench.cpu_seconds(pid)
    peers = subprocess.run([bench.tool("bench_peers"), mode, clients, workers, str(count), str(in_flight),
                            str(seconds)], capture_output=True, text=True, check=True)
    cpu = bench.cpu_seconds(pid) - before
    figures = {key: float(value) for key, value in re.findall(r"(\w+)=(\S+)", peers.stdout)}
    return {"cpu_us": cpu / figures["all"] * 1e6, "rate": figures["rate"], "p50_us": figures["p50_us"]}


def measure(kind, case, seconds):
    if kind == KINDS[2]:
        with bench.broker() as program:
            return run_peers(program.process.pid, "mdp", program.ready["clients"], program.ready["workers"], case,
                             seconds)
    process, clients, workers = forwarder("bare" if kind == KINDS[0] else "mdp")
    try:
        return run_peers(process.pid, "bare" if kind == KINDS[0] else "mdp", clients, workers, case, seconds)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def main():
    options = bench.arguments(__doc__)
    bench.pin()
    runs = {(kind, case): [] for kind in KINDS for case in CASES}
    for _ in range(options.repeats):
        for case in CASES:
            for kind in KINDS:
                runs[kind, case].append(measure(kind, case, options.seconds))
    for case in CASES:
        print(f"\n{case[0]}: medians of {options.repeats}, {options.seconds:g} s each")
        figures = {kind: bench.medians(runs[kind, case], ("cpu_us", "rate", "p50_us")) for kind in KINDS}
        for kind, figure in figures.items():
            print(f"  {kind:28} {figure['cpu_us']:7.2f} us CPU {figure['rate']:10,.0f}/s  p50 {figure['p50_us']:6.0f} us")
        ours, theirs = figures[KINDS[2]], figures[KINDS[1]]
        print(f"  broker / forwarder: CPU {ours['cpu_us'] / theirs['cpu_us']:.2f}, "
              f"rate {ours['rate'] / theirs['rate']:.2f}, p50 {ours['p50_us'] / theirs['p50_us']:.2f}")


if __name__ == "__main__":
    main()
