"""Deliveries to an object store whose worker ends, of archives of many parts, with secrets about, with leftovers."""
import time
import zlib

import bus
import harness
from catalogue import case
from history import Broken
from house import SLOWER, S3Store, preload
from cases.feedback import ask_and_keep, kill_workers
from cases.uploads import CUTS, ENGINE, ERRORS, spool, stage
from s3 import fault_proxy


# ---- F61, F64, F65, F75: archives of many parts --------------------------------------------


def is_begin(exchange):
    return exchange.method == "POST" and exchange.query.startswith("uploads")


def is_part(exchange):
    return exchange.method == "PUT" and "partNumber" in exchange.query


def is_complete(exchange):
    return exchange.method == "POST" and "uploadId" in exchange.query


def error_in_200(exchange):
    """As S3 does when it fails after it has begun to answer."""
    exchange.read_body()
    exchange.send(200, [("Content-Type", "application/xml")], fault_proxy.error_body("InternalError"))
    return True


def multipart_faults():
    first = fault_proxy.First
    error = fault_proxy.answer(503, "SlowDown")
    return {
        "F61 parts reset in their middle": first(5, fault_proxy.reset_in_body, is_part),
        "F61 an answer to a part is lost": first(3, fault_proxy.lose_answer, is_part),
        "F59 parts are answered 503": first(6, error, is_part),
        "F60 a part stalls": first(2, fault_proxy.stall_in_body, is_part),
        "F64 the completion is 200 with an error": first(2, error_in_200, is_complete),
        "F64 a part's ETag is missing": first(2, fault_proxy.spoil(fault_proxy.without_etag), is_part),
        "F64 a part's ETag is another": first(2, fault_proxy.spoil(fault_proxy.with_wrong_etag), is_part),
        "F65 the answer to the completion is lost": first(2, fault_proxy.lose_answer, is_complete),
        "F65 the answer to the beginning is lost": first(2, fault_proxy.lose_answer, is_begin),
        "F64 the upload is gone": first(2, fault_proxy.answer(404, "NoSuchUpload"), is_complete),
    }


def send_great(place, number):
    """Asks for the great archive; the client, which does not wait for the answer."""
    client = bus.Bus(place.endpoint)
    client.send("metric.feedback", {"op": "dump", "uid": "great", "created": 1700000000 + number,
                                    "extra": {"number": number}, "timeout": 300_000})
    return client


def check_great(place, number):
    key = place.ask_until("great", number, timeout_ms=120_000, timeout_s=240)
    place.wait_empty(240)
    place.check({key: ("great", {"number": number})})
    head = place.store.client.head(place.store.bucket, key).headers
    if not head["etag"].strip('"').endswith("-9") or head["x-amz-meta-uid"] != "great":
        raise Broken(f"{head}")
    place.store.client.empty(place.store.bucket)


@case("F59 F60 F61 F64 F65", "each step of a multipart upload fails or its answer is lost",
      quick=0, full=1, engine=ENGINE, long=True)
def parts_fail(trial):
    """One object with the right bytes, no upload left."""
    with stage(trial, store="bluestore") as (place, proxy):
        place.load_great()
        for number, (name, fault) in enumerate(multipart_faults().items()):
            trial.count(name)
            proxy.fault = fault
            began = time.monotonic()
            with place.worker("--upload-stall", "2s"):
                check_great(place, number)
            trial.sample("delivered after, s", time.monotonic() - began)
            proxy.fault = None
            if not fault.came:
                raise Broken(f"{name}: never came about")


@case("F68 F75", "kill -9 at a random call of a multipart upload", quick=0, full=10, engine=ENGINE, long=True)
def worker_is_killed_in_a_multipart_upload(trial):
    """What was left is aborted at the next start; one object with the right bytes."""
    with stage(trial, store="bluestore") as (place, proxy):
        place.load_great()
        log, killed = trial.folder / "killed.log", 0
        for number in range(trial.runs):
            log.write_text("")
            nth = trial.random.randint(1, 300)
            fault = preload(KILL_AT=nth, KILL_AT_CALLS="send,connect", KILL_AT_PATH=place.addresses["store"],
                            KILL_AT_LOG=log)
            with place.worker(env=fault) as worker:
                client = send_great(place, number)
                harness.wait_until(lambda: worker.process.poll() is not None or place.store.objects(), 240, "its end")
                worker.kill()
                client.socket.close()
            killed += bool(log.read_text())
            trial.count("uploads that were left", len(place.store.left_over()))
            with place.worker():
                check_great(place, number)
        trial.count("killed in the upload", killed)
        if not killed:
            raise Broken("no upload was killed")


# ---- F68, F69: ends of the worker ----------------------------------------------------------


def flaky(random):
    """A network and a store of which nothing can be relied on."""
    faults = [*ERRORS.values(), *CUTS.values(), fault_proxy.lose_answer, None, None, None, None]

    def fault(exchange):
        chosen = random.choice(faults)
        return chosen is not None and chosen(exchange)
    return fault


@case("F68", "kill -9 a feedback worker at any call of a dump or at any time; radosgw as the store",
      quick=0, full=200, shard=100, engine=ENGINE)
def uploading_worker_is_killed(trial):
    with stage(trial) as (place, _):
        store = S3Store(place.store.engine, f"{place.store.bucket}-direct", "kept")
        kill_workers(trial, store)


@case("F68",
      "kill -9 one of three feedback workers that share a spool, beside a store that answers 5xx, resets, loses answers",
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


@case("F74", "canary secrets in environment, credentials file, configuration file, body, answers of the store",
      quick=1, full=3, engine=ENGINE)
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
    body = f"<Error><Code>SignatureDoesNotMatch</Code><StringToSign>{sent}</StringToSign></Error>"
    exchange.send(403, [], body.encode())
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
