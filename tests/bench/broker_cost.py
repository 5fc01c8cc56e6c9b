"""What the broker costs over the smallest forwarder that passes the same frames: CPU time of its process for one
echo, rate with 64 requests in flight, median round trip of one alone. Figures are named after requests
in flight and workers."""
import re
import subprocess

import bench

CASES = [("64 in flight, 1 worker", 1, 64), ("64 in flight, 8 workers", 8, 64), ("1 in flight, 1 worker", 1, 1)]
FIGURES = [  # what peers.c says, and its goal in a case
    ("cpu_us", "us CPU", lambda case: "ratio <= 1.5"),
    ("rate", "echoes/s", lambda case: "ratio >= 0.7" if case[2] > 1 else None),
    ("p50_us", "us", lambda case: "ratio <= 1.2" if case[2] == 1 else None),
]
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


def short(case):
    return f"{case[2]}x{case[1]}"


def main(options, report):
    seconds = options.seconds or (0.3 if options.quick else 1.0)
    samples = bench.rounds(options.repeats, {(kind, case): lambda kind=kind, case=case: measure(kind, case, seconds)
                                             for case in CASES for kind in KINDS})
    bare, forwarder, ours = KINDS
    for case in CASES:
        for figure, unit, goal in FIGURES:
            def of(kind):
                return bench.values(samples[kind, case], lambda sample: sample[figure])

            name = f"broker_{figure.split('_')[0]}_{short(case)}"
            report.compare(name, unit, of(ours), of(forwarder), goal(case))
            report.compare(f"{name}_bare", unit, of(ours), of(bare))
