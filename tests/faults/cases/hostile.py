"""Peers that break the protocol, send what is no ZMTP, or never end what they began."""
import contextlib
import os
import sys
import threading
import time
import unittest

import msgpack

import harness
import mdp
import zmtp
from catalogue import case
from history import Broken
from stand import SLOWER, Data, Stand, stock_dealer

MIB = 1 << 20


def borrow(codes, title, *names, **numbers):
    """A case that is a test of the ordinary tests, by its dotted name: it runs there, too."""
    def body(trial):
        os.environ["METRICMQ_SEED"] = str(trial.random.randrange(1 << 32))
        for _ in range(trial.runs):
            suite = unittest.defaultTestLoader.loadTestsFromNames(names)
            if not unittest.TextTestRunner(stream=sys.stdout).run(suite).wasSuccessful():
                raise Broken(" and ".join(names))
    body.__name__ = names[0].replace(".", "_")
    case(codes, title, **{"quick": 0, **numbers})(body)


borrow("F12", "a second READY", "test_mdp_broker.Hostile.test_f12_a_second_ready", full=5)
borrow("F13", "READY for mmi.x; a service named foo.mmi.x works",
       "test_mdp_broker.Hostile.test_f14_workers_that_break_the_protocol",
       "test_mdp_broker.Stock.test_f13_a_name_that_holds_mmi")
borrow("F15", "requests of 0 to 3 frames, bad services, unknown commands",
       "test_mdp_broker.Hostile.test_f15_messages_that_are_no_requests", full=5)
borrow("F16", "a message of 100,000 frames", "test_mdp_broker.Hostile.test_f16_a_message_of_many_frames", full=3)
borrow("F17", "random bytes, HTTP, TLS, greetings cut at every byte",
       "test_mdp_broker.Hostile.test_f17_bytes_that_are_no_zmtp", full=3)
borrow("F18", "frame lengths 2^33 to 2^64-1", "test_mdp_broker.Hostile.test_f18_frame_lengths_beyond_reason", full=3)
borrow("F23", "1,000 requests at once on one DEALER", "test_mdp_broker.Stock.test_f23_a_thousand_requests_at_once",
       "test_stock_client.StockClient.test_many_requests_at_once_are_told_apart_by_id", full=5)
borrow("F25", "no worker for a service", "test_mdp_broker.Stock.test_f25_no_worker",
       "test_usage.Usage.test_no_worker_for_a_service", "test_mdp_broker.Stock.test_queued_until_a_worker_comes", full=5)
borrow("F26", "a full queue: 20,000 requests, each answered",
       "test_mdp_broker.Hostile.test_f26_a_flood_is_answered_to_the_last")
borrow("F28", "SIGTERM during --import", "test_usage.Usage.test_stop_during_import")
borrow("F31", "unknown key, bad type, port in use, missing folder",
       "test_usage.Usage.test_configuration_faults_name_the_option",
       "test_usage.Usage.test_settings_that_can_never_work_are_2")


@case("F14", "PARTIAL and FINAL with the address of another worker's request", quick=5, full=50)
def answer_is_foreign(trial):
    """DISCONNECT, counted; the client sees the answer of the worker that was asked, alone."""
    with Stand() as stand, mdp.Client(stand.clients) as client, stock_dealer(stand.worker_endpoint) as honest:
        honest.send_multipart([mdp.WORKER, mdp.READY, b"asked", b"8"])
        stand.wait_workers(1, "asked")
        for run in range(trial.runs):
            client.send(b"asked", msgpack.packb({"id": run}))
            token = next_request(honest)
            with stock_dealer(stand.worker_endpoint) as liar:
                liar.send_multipart([mdp.WORKER, mdp.READY, b"other", b"8"])
                stand.wait_workers(1, "other")
                command = trial.random.choice([mdp.PARTIAL, mdp.FINAL])
                liar.send_multipart([mdp.WORKER, command, token, b"", b"a lie"])
                while liar.poll(10_000) and liar.recv_multipart()[1] != mdp.DISCONNECT:
                    pass
            honest.send_multipart([mdp.WORKER, mdp.FINAL, token, b"", b"the truth"])
            if client.receive() != (mdp.FINAL_OF_CLIENT, b"asked", [b"the truth"]):
                raise Broken("a lie was delivered")
        if stand.dropped()["foreign"] != trial.runs:
            raise Broken(f"not all counted: {stand.dropped()}")


def next_request(dealer):
    while True:
        frames = dealer.recv_multipart()
        if frames[1] == mdp.REQUEST:
            return frames[2]
        dealer.send_multipart([mdp.WORKER, mdp.HEARTBEAT])


@case("F15", "a flood of malformed messages is logged once an interval")
def faults_are_logged_seldom(trial):
    """Each is counted, one line a second is logged, others are served."""
    count = 20_000
    with Stand() as stand, stock_dealer(stand.clients, sndhwm=1 << 20) as bad, \
            mdp.Worker(stand.worker_endpoint, b"echo"), mdp.Client(stand.clients) as good:
        stand.wait_workers(1, "echo")
        began = time.monotonic()
        for number in range(count):
            bad.send_multipart([b"MDPC01", b"\x01", b"echo", b"%d" % number])
            if number % 100 == 0 and good.call(b"echo", b"x") != [[b"x"]]:
                raise Broken("others are not served")
        harness.wait_until(lambda: stand.dropped()["malformed"] == count, 30 * SLOWER, "all to be counted")
        lines, seconds = stand.broker.log().count("message dropped"), time.monotonic() - began
        trial.note(f"{count} in {seconds:.1f} s, {lines} lines")
        if lines > seconds + 2:
            raise Broken(f"{lines} lines in {seconds:.1f} s")


@case("F16", "a message that never ends: frames with MORE and no last one, 40 MiB/s and as fast as it goes", full=2)
def message_never_ends(trial):
    """The ROUTER is bound anew when memory that is no request's passes --stray-memory; counted and logged."""
    data = Data(trial.folder, trial.random, rows=2000)
    stray, paces = ("1G", {"": 0}) if harness.SLOW else ("16M", {" at 40 MiB/s": 0.025, " at full speed": 0})
    with Stand(data, workers=1, broker=("--stray-memory", stray)) as stand:
        readers = stand.readers(data.long_plan(), 2, pause_ms=20)
        for _ in range(trial.runs):
            for endpoint in (stand.clients, stand.worker_endpoint):
                for name, pause_s in paces.items():
                    flood_until_cut(trial, stand, endpoint, "MiB grown" + name, pause_s)
                    stand.wait_workers(1)
        if stand.broker.log().count("all connections are cut") != stand.stats()["rebinds"]:
            raise Broken("not each is logged")
        streams, _ = readers.finish()
        trial.count("streams beside it", streams)


def flood_until_cut(trial, stand, endpoint, name, pause_s):
    """Sends until the connection is cut."""
    before, start = stand.stats()["rebinds"], stand.broker.program.rss()
    piece, sent, most = zmtp.frame(bytes(MIB), True), 0, 0
    with zmtp.Raw(endpoint) as raw, contextlib.suppress(ConnectionError):
        while sent < 8192:
            raw.socket.sendall(piece)
            sent += 1
            most = max(most, stand.broker.program.rss() - start)
            threading.Event().wait(pause_s)
        raise Broken("8 GiB were taken")
    trial.sample(name, most / MIB)
    harness.wait_until(lambda: stand.stats()["rebinds"] > before, 20 * SLOWER, "mmi.stats to count it")


@case("F17", "others beside 200 strangers a second that speak no ZMTP", quick=1, full=1, alone=True)
def strangers_knock(trial):
    """Others are served: the rate beside them over the rate alone."""
    with Stand() as stand, mdp.Worker(stand.worker_endpoint, b"echo"), mdp.Client(stand.clients) as good:
        stand.wait_workers(1, "echo")
        seconds = 2 if trial.quick else 5
        alone = rate(good, seconds)
        stopping = threading.Event()
        strangers = threading.Thread(target=knock, args=(stand, trial.random.randbytes(4000), stopping))
        strangers.start()
        beside = rate(good, seconds)
        stopping.set()
        strangers.join()
        trial.note(f"{beside:.0f} of {alone:.0f} requests a second")
        if beside < alone / 3:
            raise Broken(f"{beside:.0f} requests a second instead of {alone:.0f}")


def rate(client, seconds):
    count, end = 0, time.monotonic() + seconds
    while time.monotonic() < end:
        if client.call(b"echo", b"x") != [[b"x"]]:
            raise Broken("a wrong answer")
        count += 1
    return count / seconds


def knock(stand, noise, stopping):
    held = []
    while not stopping.wait(0.01):
        for endpoint, opening in ((stand.clients, noise), (stand.worker_endpoint, b"GET / HTTP/1.1\r\n\r\n")):
            stranger = zmtp.connect(endpoint)
            held.append(stranger)
            with contextlib.suppress(OSError):
                stranger.sendall(opening)
        while len(held) > 100:
            held.pop(0).close()
    for stranger in held:
        stranger.close()


@case("F18", "one byte a second of a handshake, on both ports")
def handshake_trickles(trial):
    """Closed by the time for the handshake. What trickles later costs its descriptor and no more."""
    with Stand() as stand:
        threads = [threading.Thread(target=trickle, args=(trial, zmtp.connect(endpoint)))
                   for endpoint in (stand.clients, stand.worker_endpoint)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if len(trial.samples.get("closed after, s", ())) != 2:
            raise Broken("they were not closed")


def trickle(trial, connection):
    began = time.monotonic()
    with connection, contextlib.suppress(ConnectionError):
        connection.settimeout(1)
        for byte in zmtp.GREETING + zmtp.READY:
            if time.monotonic() - began > 10 * SLOWER:
                return
            connection.send(bytes([byte]))
            end = time.monotonic() + 1
            with contextlib.suppress(TimeoutError):
                while time.monotonic() < end:
                    if not connection.recv(4096):
                        raise ConnectionError
    trial.sample("closed after, s", time.monotonic() - began)
