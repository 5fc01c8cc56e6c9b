"""Each role as a process of its own: what it holds when nothing happens and what it held at most under load, and its CPU
for a request and for a row. docs/operations.md (sizing) shows the figures."""
import contextlib
import subprocess
import tempfile

import bench
import datasets
import harness

MIB = 1 << 20
PINNED = False
IDLE_CLIENTS = 1000


@contextlib.contextmanager
def house(store):
    """{role: program}, once the adapter sees workers of all services."""
    with tempfile.TemporaryDirectory(prefix="metricmq-bench-") as folder, contextlib.ExitStack() as stack:
        roles = {"broker": stack.enter_context(bench.broker())}
        for name in ("write", "query", "feedback"):
            roles[name] = stack.enter_context(harness.Program(
                "worker", name, "--data", folder, "--store", store.url, "--connect", roles["broker"].ready["workers"]))
        roles["http"] = stack.enter_context(harness.Program(
            "http", "--http", "127.0.0.1:0", "--connect", roles["broker"].ready["clients"]))
        harness.wait_until(lambda: harness.http_get(roles["http"], "/health/ready")[0] == 200, what="all roles")
        yield roles


def used(roles, work):
    """(what work() says, CPU seconds of each role meanwhile)."""
    before = {name: bench.cpu_seconds(role.process.pid) for name, role in roles.items()}
    done = work()
    return done, {name: bench.cpu_seconds(role.process.pid) - before[name] for name, role in roles.items()}


def under_load(options, roles, kind):
    """Total figures of a closed loop of 16 requests, and CPU seconds of each role."""
    seconds = "200ms" if options.quick else "4s"
    done, cpu = used(roles, lambda: bench.load(
        "--connect", roles["broker"].ready["clients"], "--mix", f"{kind}=1", "--concurrency", 16, "--clients", 16,
        "--duration", seconds, "--warmup", 0))
    if not done["total"]["requests"]:
        raise bench.Failed(f"no request of the kind {kind} was answered")
    return done["total"], cpu


def over_http(options, roles, store):
    """(requests, CPU seconds of each role) of 16 connections that ask for last rows."""
    port = roles["http"].ready["http"].rstrip("/").rsplit(":", 1)[1]
    paths = [f"/_models/{uid}/data?limit=1" for uid in store.uids[:100]]
    count = options.sizes.requests * 5
    return count, used(roles, lambda: bench.measure("bench_http", port, 16, count, 0, bench.OCTETS, lines=paths))[1]


def a_connection(roles):
    """Bytes that the broker holds more for each of many clients that are connected and idle."""
    broker = roles["broker"]
    before = broker.rss()
    load = subprocess.Popen([
        harness.PROGRAM, "load", "--connect", broker.ready["clients"], "--clients", str(IDLE_CLIENTS), "--rate", "1",
        "--mix", "small=1", "--duration", "60s", "--warmup", "0"], stdout=subprocess.DEVNULL)
    try:
        harness.wait_until(lambda: broker.descriptors() > IDLE_CLIENTS,
                           what="the clients")
        return (broker.rss() - before) / IDLE_CLIENTS
    finally:
        load.terminate()
        load.wait()


def main(options, report):
    store = datasets.store(*options.sizes.hundred).warm()
    with house(store) as roles:
        for name, role in roles.items():
            report.value(f"roles_idle_{name}", "MiB", [role.rss() / MIB])
        report.value("roles_connection", "KiB", [a_connection(roles) / 1024])
        for kind in ("small", "day", "dump"):
            total, cpu = under_load(options, roles, kind)
            by, unit, factor = ("rows", "ns CPU/row", 1e9) if kind == "dump" else ("requests", "us CPU", 1e6)
            for name in ("broker", "query"):
                report.value(f"roles_{kind}_{name}", unit, [cpu[name] / total[by] * factor])
        count, cpu = over_http(options, roles, store)
        report.value("roles_small_http", "us CPU", [cpu["http"] / count * 1e6])
        bench.curl(roles["http"].ready["http"].rstrip("/") + "/_models/data")
        harness.run("feedback", store.uids[0], "--connect", roles["broker"].ready["clients"])
        for name, role in roles.items():
            report.value(f"roles_most_{name}", "MiB", [role.peak() / MIB])
