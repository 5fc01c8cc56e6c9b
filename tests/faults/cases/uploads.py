"""Uploads to an object store: what networks and stores do at times, with a real store (radosgw) behind a proxy.

Whatever happens: the request is answered 202 and the job kept, visible in `status` and `spool list`; heartbeats,
queries and other answers go on; the store is not asked in a loop; and when all is well again there is exactly one
object, with the right bytes.
"""
import contextlib
import socket
import threading
import time
import uuid
import zlib

import harness
from catalogue import case
from history import Broken
from house import SLOWER, House, S3Store
from cases.clocks import faketime
from cases.feedback import ask_and_keep, check_query, kill_workers
from s3 import engines, fault_proxy

ENGINE = "radosgw"
WINDOW_S = 2.0  # how long requests are counted
ROWS = 300


@contextlib.contextmanager
def stage(trial, certificate=None, env=None, prefix="kept"):
    """(house on a new bucket behind a proxy, the proxy)."""
    with engines.shared(ENGINE) as engine, fault_proxy.FaultProxy(engine.endpoint, certificate) as proxy:
        name = f"dumps-{uuid.uuid4().hex}"
        store = S3Store(engine, name, prefix, endpoint=proxy.endpoint)
        (trial.folder / name).mkdir()
        with House(trial.folder / name, trial.random, store, env=env) as place:
            place.uids = place.load(few=ROWS)
            yield place, proxy


def spool(place, *words):
    return harness.run("spool", *words, "--data", place.data).out


def suffer(trial, place, proxy, fault, states, number, calm=3, visible="", done=False):
    """One dump while the store is ill, from its request to its object. Returns when it was well again.

    states: the classes that the spool may count it in; calm: requests at most in WINDOW_S; visible: what the
    sentence must hold; done: the store has the object all the same."""
    uid, accepted = place.uids[0], {}
    proxy.fault = fault
    began = time.monotonic()
    key = ask_and_keep(place, accepted, uid, number, wanted=(202,))
    trial.sample("answered 202 after, s", time.monotonic() - began)
    counts = harness.wait_until(lambda: find_counts(place, states), 20 * SLOWER, f"a job that is {' or '.join(states)}")
    if not counts["last_error"]:
        raise Broken("status does not say why")
    listed = spool(place, "list")
    if not any(state in listed for state in states) or visible not in listed:
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
    return well


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
        with place.worker("--upload-stall", "1s", "--s3-endpoint", f"http://127.0.0.1:{deaf.getsockname()[1]}") as worker:
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


@case("F61", "connections that are reset in the middle of the body, or closed without an answer", quick=1, full=2, engine=ENGINE)
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
    authority, *certificate = engines.make_certificate(trial.folder)
    with Trap() as trap, stage(trial, certificate) as (place, proxy), place.role("query"):
        with place.worker("--s3-ca-file", authority):
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


@case("F64", "answers that no store gives: 200 with an <Error>, 204, 418, 600, no HTTP at all, 1 MiB of text", quick=1, full=6,
      engine=ENGINE)
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


@case("F66", "certificates that have expired, are self-signed, of an unknown authority, for another host", quick=2, full=4,
      engine=ENGINE)
def certificate_is_bad(trial):
    """Refused: not a byte of the request is sent. Kept and told."""
    made = {"expired": {"days": -1}, "for another host": {"name": "other.example.com"}, "unknown authority": {}, "self-signed": {}}
    names = trial.random.sample(sorted(made), trial.runs)
    for name in names:
        folder = trial.folder / name.replace(" ", "-")
        folder.mkdir()
        authority, certificate, key = engines.make_certificate(folder, **made[name])
        trusted = None if name in ("unknown authority", "self-signed") else authority
        served = [authority, folder / "server-authority-key.pem"] if name == "self-signed" else [certificate, key]
        trial.count(name)
        meet_certificate(trial, served, trusted)


def meet_certificate(trial, served, trusted):
    accepted = {}
    with stage(trial, served) as (place, proxy):
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
                proxy.fault = fault_proxy.first(lost, fault_proxy.lose_answer)
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


# ---- F68, F69: ends of the worker ----------------------------------------------------------


def flaky(random):
    """A network and a store of which nothing can be relied on."""
    faults = [*ERRORS.values(), *CUTS.values(), fault_proxy.lose_answer, None, None, None, None]

    def fault(exchange):
        chosen = random.choice(faults)
        return chosen is not None and chosen(exchange)
    return fault


@case("F68", "kill -9 a feedback worker at any call of a dump or at any time; radosgw as the store", quick=0, full=200,
      shard=100, engine=ENGINE)
def uploading_worker_is_killed(trial):
    with stage(trial) as (place, _):
        store = S3Store(place.store.engine, f"{place.store.bucket}-direct", "kept")
        kill_workers(trial, store)


@case("F68", "kill -9 one of three feedback workers that share a spool, beside a store that answers 5xx, resets, loses answers",
      quick=0, full=150, shard=75, engine=ENGINE)
def worker_is_killed_beside_a_flaky_store(trial):
    with stage(trial) as (place, proxy):
        proxy.fault = flaky(type(trial.random)(trial.random.random()))
        kill_workers(trial, place.store, workers=3, calm=lambda: setattr(proxy, "fault", None))
        trial.count("requests of the store", len(proxy.requests))


@case("F69", "SIGTERM in an upload that stalls, and in the waits between two attempts", quick=2, full=20, engine=ENGINE)
def worker_is_told_to_stop_in_a_stalled_upload(trial):
    """Exit 0 within the drain timeout; what was accepted is in the spool, and delivered after the next start."""
    with stage(trial) as (place, proxy):
        for number in range(trial.runs):
            accepted = {}
            with place.worker("--drain-timeout", "2s") as worker:
                proxy.fault = trial.random.choice([fault_proxy.stall_in_body, fault_proxy.stall_before_answer,
                                                   ERRORS["503"], fault_proxy.trickle_answer])
                ask_and_keep(place, accepted, place.uids[0], number, wanted=(202,), timeout_ms=1500)
                trial.moment(0, 0.3)
                began = time.monotonic()
                worker.stop(timeout=10 * SLOWER)
                trial.sample("stopped after, s", time.monotonic() - began)
                if time.monotonic() - began > 4 * SLOWER:
                    raise Broken("it took longer than the drain timeout")
            if len(place.jobs()) != 1 or place.store.objects():
                raise Broken("the job is not in the spool")
            proxy.fault = None
            with place.worker():
                place.wait_empty()
            place.check(accepted)
            place.store.client.empty(place.store.bucket)


# ---- F74: secrets --------------------------------------------------------------------------


@case("F74", "canary secrets in environment, credentials file, configuration file, body, answers of the store", quick=1, full=3,
      engine=ENGINE)
def secrets_are_about(trial):
    """In no log (debug), status, spool list, error, manifest or archive; the body's own is in its archive alone."""
    with stage(trial, env={"METRICMQ_LOG_LEVEL": "debug"}) as (place, proxy):
        for number in range(trial.runs):
            canaries = {name: f"canary{trial.random.getrandbits(64):016x}" for name in
                        ("secret", "token", "profile", "api key", "body", "name")}
            seek_canaries(trial, place, proxy, canaries, number)


def seek_canaries(trial, place, proxy, canaries, number):
    credentials = trial.folder / "credentials"
    credentials.write_text(f"[default]\naws_access_key_id = testaccess\naws_secret_access_key = {canaries['profile']}\n")
    configuration = trial.folder / "metricmq.cfg"
    configuration.write_text("log-level = debug\n")
    right = place.store.environment["AWS_SECRET_ACCESS_KEY"]
    keys = {"AWS_ACCESS_KEY_ID": "testaccess", "AWS_SECRET_ACCESS_KEY": canaries["secret"],
            "AWS_SESSION_TOKEN": canaries["token"], "METRICMQ_API_KEY": canaries["api key"]}
    profile = {"AWS_SHARED_CREDENTIALS_FILE": str(credentials)}
    extra = {"password": canaries["body"], canaries["name"]: 1}
    texts, accepted = {}, {}

    def work(name, fault, status, **options):
        proxy.fault = fault
        with place.worker("--config", configuration, **options) as worker:
            key = place.ask_until(place.uids[0], number, wanted=(status,), extra=extra)
            accepted[key] = (place.uids[0], {"number": number, **extra})
            texts[f"{name}: status"] = place.status() + str(place.counts())
            texts[f"{name}: list"] = spool(place, "list")
            for path in place.data.rglob("manifest.json"):
                texts[f"{name}: manifest"] = path.read_text()
            texts[f"{name}: refusal"] = str(place.ask("nobody", number, extra=extra))
        texts[f"{name}: log"] = worker.errors()

    stored = place.store.environment
    work("wrong secret", None, 202, env=keys)
    place.store.environment = {}
    work("wrong profile", None, 202, env=profile)
    place.store.environment = stored
    work("error that echoes", echo, 202, env={"METRICMQ_API_KEY": canaries["api key"]})
    work("cut", fault_proxy.reset_in_body, 202)
    work("right", None, 200)
    texts["broker"] = place.broker.errors()
    objects = place.store.objects()
    for name, text in texts.items():
        for what, canary in (*canaries.items(), ("right secret", right)):
            if canary in text:
                raise Broken(f"the {what} is in {name}")
    place.check(accepted)
    for key, body in objects.items():
        unpacked = zlib.decompress(body, 31)
        for what in set(canaries) - {"body", "name"}:
            if canaries[what].encode() in unpacked:
                raise Broken(f"the {what} is in the archive")
    trial.count("texts looked through", len(texts))
    place.store.client.empty(place.store.bucket)


def echo(exchange):
    """As stores do: the refusal repeats what was sent."""
    exchange.read_body()
    sent = " ".join(value for _, value in exchange.headers)
    exchange.send(403, [], f"<Error><Code>SignatureDoesNotMatch</Code><StringToSign>{sent}</StringToSign></Error>".encode())
    return True


# ---- F75: leftovers ------------------------------------------------------------------------


@case("F75", "multipart uploads that a crash left", quick=1, full=1, engine=ENGINE)
def uploads_are_left(trial):
    """Ours are aborted at start; others' are left alone."""
    with stage(trial) as (place, _):
        store = place.store
        with place.worker():
            key = place.ask_until(place.uids[0], 0)
        server = (place.data / "server_id").read_text().strip()
        ours = [key, f"kept/metric_dumps/{server}-metric_dump_x_20200101-000000-01234567.tar.gz"]
        others = [f"kept/metric_dumps/{server}0-metric_dump_x_20200101-000000-01234567.tar.gz", "kept/metric_dumps/other",
                  f"metric_dumps/{server}-metric_dump_x_20200101-000000-01234567.tar.gz", "elsewhere"]
        for name in (*ours, *ours, *others):
            store.client.begin_upload(store.bucket, name)
        with place.worker():
            harness.wait_until(lambda: len(store.left_over()) <= len(others), 30 * SLOWER, "their end")
            place.ask_until(place.uids[0], 0)
        left = sorted(name for name, _ in store.left_over())
        if left != sorted(others):
            raise Broken(f"{left} are left")
        if place.store.objects().keys() != {key}:
            raise Broken(f"{list(place.store.objects())} are there")
        trial.count("aborted", 2 * len(ours))
