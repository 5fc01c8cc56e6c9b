"""Uploads to an object store: what networks and stores do at times, with a real store (radosgw) behind a proxy.

Whatever happens: the request is answered 202 and the job kept, visible in `status` and `spool list`; heartbeats,
queries and other answers go on; the store is not asked in a loop; and when all is well again there is exactly one
object, with the right bytes.
"""
import contextlib
import socket
import ssl
import threading
import time
import uuid

import harness
from catalogue import case
from history import Broken
from house import SLOWER, House, S3Store
from cases.clocks import faketime
from cases.feedback import ask_and_keep, check_query
from s3 import engines, fault_proxy
from s3.authority import Authority

ENGINE = "radosgw"
WINDOW_S = 2.0  # how long requests are counted
ROWS = 300


@contextlib.contextmanager
def stage(trial, context=None, env=None, prefix="kept", **own):
    """(house on a new bucket behind a proxy, the proxy). own: options of a store that is the case's own."""
    with contextlib.ExitStack() as stack:
        engine = stack.enter_context(engines.start(ENGINE, **own) if own else engines.shared(ENGINE))
        proxy = stack.enter_context(fault_proxy.FaultProxy(engine.endpoint, context))
        name = f"dumps-{uuid.uuid4().hex}"
        store = S3Store(engine, name, prefix, endpoint=proxy.endpoint)
        (trial.folder / name).mkdir()
        place = stack.enter_context(House(trial.folder / name, trial.random, store, env=env))
        place.uids = place.load(few=ROWS)
        yield place, proxy


def spool(place, *words):
    return harness.run("spool", *words, "--data", place.data).out


def suffer(trial, place, proxy, fault, states, number, calm=3, done=False):
    """One dump while the store is ill, from its request to its object.

    states: the classes that the spool may count it in; calm: requests at most in WINDOW_S; done: the store has the
    object all the same."""
    uid, accepted = place.uids[0], {}
    proxy.fault = fault
    began = time.monotonic()
    key = ask_and_keep(place, accepted, uid, number, wanted=(202,))
    trial.sample("answered 202 after, s", time.monotonic() - began)
    counts = harness.wait_until(lambda: find_counts(place, states), 20 * SLOWER, f"a job that is {' or '.join(states)}")
    if not counts["last_error"]:
        raise Broken("status does not say why")
    listed = spool(place, "list")
    if not any(state in listed for state in (*states, "uploading")):  # the latter: just now it is tried again
        raise Broken(f"`spool list` does not show it: {listed}")
    check_calm(trial, place, proxy, calm)
    if not done and place.store.objects():
        raise Broken("there is an object")
    proxy.fault = None
    well = time.monotonic()
    if counts["waiting"] == 0:
        spool(place, "retry")
    place.wait_empty()
    trial.sample("delivered after, s", time.monotonic() - well)
    if place.store.objects().keys() != {key}:
        raise Broken(f"{list(place.store.objects())} are there")
    place.check(accepted)
    place.store.client.empty(place.store.bucket)


def find_counts(place, states):
    counts = place.counts()
    if counts["jobs"] != sum(counts[state] for state in ("waiting", "settings", "held")):
        raise Broken(f"{counts} do not add up")
    return counts if counts["jobs"] == 1 and any(counts[state] == 1 for state in states) else None


def check_calm(trial, place, proxy, calm):
    """For a while: no more than so many requests, and others are served."""
    began = time.monotonic()
    while time.monotonic() < began + WINDOW_S:
        asked = time.monotonic()
        check_query(place, place.uids[0], ROWS)
        place.counts()
        trial.sample("others answered after, s", time.monotonic() - asked)
        if time.monotonic() - asked > 2 * SLOWER:
            raise Broken("others had to wait")
    trial.sample("requests of the store in 2 s", proxy.count(began))
    if proxy.count(began) > calm:
        raise Broken(f"{proxy.count(began)} requests in {WINDOW_S} s")


def play(trial, faults, states, options=(), env=None, **wanted):
    """One after the other, or as many of them as there are runs."""
    names = sorted(faults)
    if trial.runs < len(names):
        names = trial.random.sample(names, trial.runs)
    with stage(trial) as (place, proxy), place.worker(*options, env=env), place.role("query"):
        for number, name in enumerate(names):
            trial.count(name)
            suffer(trial, place, proxy, faults[name], states, number, **wanted)


# ---- F59, F60, F61: it passes --------------------------------------------------------------

ERRORS = {"500": fault_proxy.answer(500, "InternalError"), "503": fault_proxy.answer(503, "SlowDown"),
          "503 before the body": fault_proxy.answer(503, "ServiceUnavailable", early=True),
          "502 of a proxy": fault_proxy.answer(502, "BadGateway"), "504": fault_proxy.answer(504, "GatewayTimeout"),
          "429": fault_proxy.answer(429, "TooManyRequests"), "408": fault_proxy.answer(408, "RequestTimeout"),
          "400 RequestTimeout": fault_proxy.answer(400, "RequestTimeout")}


@case("F59", "the store answers 500, 502, 503, 504, 429, 408", quick=2, full=8, engine=ENGINE)
def store_is_ill(trial):
    """Tried again with exponential backoff and jitter; delivered when it is well."""
    play(trial, ERRORS, ("waiting",), calm=12)


@case("F59", "503 SlowDown with Retry-After: 3", quick=1, full=2, engine=ENGINE)
def store_wants_to_be_left_alone(trial):
    """Not asked again before that."""
    with stage(trial) as (place, proxy), place.worker():
        for number in range(trial.runs):
            accepted, since = {}, len(proxy.requests)
            proxy.fault = fault_proxy.answer(503, "SlowDown", [("Retry-After", "3")])
            ask_and_keep(place, accepted, place.uids[0], number, wanted=(202,))
            times = harness.wait_until(lambda: three_puts(proxy, since), 30 * SLOWER, "three attempts")
            proxy.fault = None
            gaps = [later - sooner for sooner, later in zip(times, times[1:])]
            trial.sample("between two attempts, s", min(gaps))
            if min(gaps) < 2.9:
                raise Broken(f"asked again after {min(gaps)} s")
            place.wait_empty()
            place.check(accepted)
            place.store.client.empty(place.store.bucket)


def three_puts(proxy, since):
    times = [when for when, method, *_ in proxy.requests[since:] if method == "PUT"]
    return times if len(times) >= 3 else None


SILENCE = {"no first byte": fault_proxy.stall_before_answer, "a stall in the body": fault_proxy.stall_in_body,
           "an answer of 1 B/s": fault_proxy.trickle_answer}


@case("F60", "no first byte, a stall in the body, 1 B/s", quick=1, full=3, engine=ENGINE, long=True)
def store_is_silent(trial):
    """Broken off after --upload-stall, and tried again."""
    play(trial, SILENCE, ("waiting",), options=("--upload-stall", "1s"), calm=6)


@case("F60", "a body that is read at 1 B/s", quick=0, full=1, engine=ENGINE)
def store_reads_slowly(trial):
    """Broken off after --upload-stall, and tried again."""
    with stage(trial) as (place, proxy):
        place.uids = place.load(long=60_000)
        accepted = {}
        with place.worker("--upload-stall", "1s"):
            proxy.fault = fault_proxy.trickle_body
            ask_and_keep(place, accepted, place.uids[0], 0, wanted=(202,))
            seen = len(proxy.requests)
            harness.wait_until(lambda: len(proxy.requests) > seen, 30 * SLOWER, "another attempt")
            proxy.fault = None
            place.wait_empty()
        place.check(accepted)


@case("F60", "a connection that is never taken", quick=0, full=1, engine=ENGINE)
def store_takes_no_connection(trial):
    """202; others go on; delivered when it takes some."""
    accepted = {}
    with stage(trial) as (place, proxy), socket.socket() as deaf, contextlib.ExitStack() as callers:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        for _ in range(4):  # more than its queue takes: the kernel drops what comes
            caller = callers.enter_context(socket.socket())
            caller.setblocking(False)
            caller.connect_ex(deaf.getsockname())
        endpoint = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        with place.worker("--upload-stall", "1s", "--s3-endpoint", endpoint) as worker:
            ask_and_keep(place, accepted, place.uids[0], 0, wanted=(202,))
            began = time.monotonic()
            place.counts()
            trial.sample("others answered after, s", time.monotonic() - began)
            began = time.monotonic()
            worker.stop(timeout=10 * SLOWER)
            trial.sample("stopped after, s", time.monotonic() - began)
        with place.worker():
            place.wait_empty()
        place.check(accepted)


CUTS = {"reset in the body": fault_proxy.reset_in_body, "closed without an answer": fault_proxy.close_without_answer}


@case("F61", "connections that are reset in the middle of the body, or closed without an answer",
      quick=1, full=2, engine=ENGINE)
def connection_is_cut(trial):
    """Tried again under the same key."""
    play(trial, CUTS, ("waiting",), calm=12)


# ---- F62, F63, F64, F66: somebody must mend it ---------------------------------------------

REFUSALS = {name: fault_proxy.answer(status, name) for status, name in (
    (403, "AccessDenied"), (403, "InvalidAccessKeyId"), (403, "SignatureDoesNotMatch"), (400, "ExpiredToken"),
    (403, "RequestTimeTooSkewed"), (403, "AllAccessDisabled"), (401, "Unauthorized"), (404, "NoSuchBucket"))}


@case("F62 F64", "401, 403, an expired token, a skewed clock, no such bucket", quick=2, full=8, engine=ENGINE)
def store_refuses(trial):
    """Kept, told, tried again slowly."""
    play(trial, REFUSALS, ("settings",), calm=1)


@case("F62", "a machine whose clock is an hour wrong", quick=0, full=2, engine=ENGINE)
def clock_of_uploads_is_wrong(trial):
    """Signed with the store's time, which its refusal tells: delivered at once, or kept and told."""
    with stage(trial) as (place, _):
        for number, offset in enumerate(("+1h", "-1h")):
            accepted = {}
            with place.worker(env={**faketime(), "FAKETIME": offset}):
                key = ask_and_keep(place, accepted, place.uids[0], number, wanted=(200, 202))
                trial.count(f"delivered at {offset}", int(key in place.store.objects()))
            with place.worker():
                place.wait_empty()
            place.check(accepted)
            place.store.client.empty(place.store.bucket)


class Trap:
    """A listener that nobody may come to."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.heard = []
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self):
        with contextlib.suppress(OSError):
            while True:
                connection, address = self.listener.accept()
                with connection:
                    self.heard.append(connection.recv(4096))

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        self.listener.close()
        if self.heard and not kind:
            raise Broken(f"it came to the trap: {self.heard[0]!r}")


@case("F63", "redirects to another host and to another bucket, 301, 302, 303, 307, 308", quick=1, full=5, engine=ENGINE)
def store_redirects(trial):
    """Not followed: nobody else hears of it. Kept and told."""
    with Trap() as trap:
        faults = {str(status): fault_proxy.redirect(f"http://127.0.0.1:{trap.port}/other/key", status)
                  for status in (301, 302, 303, 307, 308)}
        play(trial, faults, ("settings",), calm=1)


@case("F63", "https that redirects to http", quick=0, full=1, engine=ENGINE)
def store_redirects_down(trial):
    """Not followed."""
    authority = Authority(trial.folder, "authority")
    context = authority.context("store", "IP:127.0.0.1")
    with Trap() as trap, stage(trial, context) as (place, proxy), place.role("query"):
        with place.worker("--s3-ca-file", authority.certificate):
            fault = fault_proxy.redirect(f"http://127.0.0.1:{trap.port}/{place.store.bucket}/key")
            suffer(trial, place, proxy, fault, ("settings",), 0, calm=1)


def is_put(exchange):
    return exchange.method == "PUT"


@case("F64", "an ETag that is missing or another", quick=1, full=2, engine=ENGINE)
def etag_is_wrong(trial):
    """Not a success."""
    faults = {"missing": fault_proxy.only(is_put, fault_proxy.spoil(fault_proxy.without_etag)),
              "wrong": fault_proxy.only(is_put, fault_proxy.spoil(fault_proxy.with_wrong_etag))}
    play(trial, faults, ("waiting", "settings", "held"), calm=12, done=True)


@case("F64", "answers that no store gives: 200 with an <Error>, 204, 418, 600, no HTTP at all, 1 MiB of text",
      quick=1, full=6, engine=ENGINE)
def answer_is_strange(trial):
    """Not a success."""
    def error_as_success(exchange):
        exchange.read_body()
        exchange.send(200, [("ETag", '"1"')], fault_proxy.error_body("InternalError"))
        return True

    def no_http(exchange):
        exchange.read_body()
        exchange.connection.sendall(b"\x00\xff\x16\x03\r\n\r\n")
        raise fault_proxy.Gone

    def much(exchange):
        exchange.read_body()
        exchange.send(500, [], b"<Error><Code>" + b"x" * (1 << 20))
        return True

    faults = {"200 with an error": error_as_success, "204": lambda exchange: exchange.send(204) or True,
              "418": fault_proxy.answer(418, "Teapot"), "600": fault_proxy.answer(600, "No"), "no HTTP": no_http,
              "1 MiB": much}
    play(trial, faults, ("waiting", "settings", "held"), calm=12)


@case("F66", "certificates that have expired, are self-signed, of an unknown authority, for another host",
      quick=2, full=4, engine=ENGINE)
def certificate_is_bad(trial):
    """Refused: not a byte of the request is sent. Kept and told."""
    names = trial.random.sample(["expired", "for another host", "unknown authority", "self-signed"], trial.runs)
    for name in names:
        folder = trial.folder / name.replace(" ", "-")
        folder.mkdir()
        authority = Authority(folder, "authority")
        context = authority.context("store", "DNS:other.example.com" if name == "for another host" else "IP:127.0.0.1",
                                    -1 if name == "expired" else 10)
        if name == "self-signed":
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(authority.certificate, authority.key)
        trial.count(name)
        meet_certificate(trial, context, authority.certificate if name in ("expired", "for another host") else None)


def meet_certificate(trial, context, trusted):
    accepted = {}
    with stage(trial, context) as (place, proxy):
        with place.worker(*(["--s3-ca-file", trusted] if trusted else [])):
            ask_and_keep(place, accepted, place.uids[0], 0, wanted=(202,))
            harness.wait_until(lambda: find_counts(place, ("settings",)), 20 * SLOWER, "a job that waits for settings")
            if "certificate" not in spool(place, "list"):
                raise Broken(f"it is not told: {spool(place, 'list')}")
        if proxy.requests:
            raise Broken("something was sent")
        with place.worker("--s3-endpoint", place.store.engine.endpoint):
            place.wait_empty()
        place.check(accepted)


# ---- F65: done, and nobody heard -----------------------------------------------------------


@case("F65", "uploads that are done and whose answers are lost", quick=2, full=10, engine=ENGINE)
def answer_is_lost(trial):
    """One object, whether it is tried again at once, later or after a kill."""
    with stage(trial) as (place, proxy):
        for number in range(trial.runs):
            accepted, lost = {}, trial.random.choice([1, 2, 3, 5])
            with place.worker() as worker:
                proxy.fault = fault_proxy.First(lost, fault_proxy.lose_answer)
                ask_and_keep(place, accepted, place.uids[0], number, wanted=(200, 202))
                if trial.random.random() < 0.5:
                    worker.kill()
                else:
                    place.wait_empty()
            proxy.fault = None
            with place.worker():
                place.wait_empty()
            place.check(accepted)
            trial.count("answers lost", lost)
            place.store.client.empty(place.store.bucket)
