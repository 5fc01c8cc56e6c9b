"""Feedback: a dump that was accepted ends as one object in the store, whatever fails in between."""
import concurrent.futures
import errno
import fcntl
import itertools
import json
import os
import shutil
import subprocess
import time

import bus
import dumps
import harness
import kills
from catalogue import NotBuilt, case
from history import Broken
from house import SLOWER, FileStore, House, preload


def file_house(trial, **options):
    return House(trial.folder, trial.random, FileStore(trial.folder / "uploads"), **options)


def ask_and_keep(place, accepted, uid, number=0, wanted=(200,), **options):
    """Asks until the answer is wanted, and remembers what was accepted."""
    key = place.ask_until(uid, number, wanted, **options)
    accepted[key] = (uid, {"number": number, **options.get("extra", {})})
    return key


def pile_up(place, accepted, uid, numbers, wanted=(202,), **options):
    """As ask_and_keep for each of the numbers, all at once."""
    with concurrent.futures.ThreadPoolExecutor(len(numbers)) as pool:
        futures = [pool.submit(ask_and_keep, place, accepted, uid, number, wanted, **options) for number in numbers]
        for future in futures:
            future.result()


# ---- F67: the spool ------------------------------------------------------------------------


@case("F67", "jobs in the spool that are torn, swapped, cut, altered or replaced by symlinks",
      quick=1, full=10, shard=5)
def jobs_are_damaged(trial):
    """Put aside and never delivered; the rest is, and the same requests are accepted anew."""
    for _ in range(trial.runs):
        shutil.rmtree(trial.folder)
        trial.folder.mkdir()
        with file_house(trial) as place:
            damage_and_look(trial, place)


def damage_and_look(trial, place):
    uid, = place.load(few=200)
    uploads, accepted = trial.folder / "uploads", {}
    uploads.write_text("in the way")
    kinds = [tear_manifest, flip_manifest, cut_archive, flip_archive, link_archive, link_manifest, swap_names,
             lose_manifest, link_job]
    with place.worker():
        pile_up(place, accepted, uid, range(len(kinds) + 2))
    uploads.unlink()
    jobs = sorted(place.jobs())
    trial.random.shuffle(jobs)
    for damage in kinds:
        damage(trial, jobs.pop())
    with place.worker():
        harness.wait_until(lambda: place.spooled() == ["quarantine"], 60 * SLOWER, "an empty spool")
        if len(list((place.data / "spool" / "quarantine").iterdir())) != len(kinds):
            raise Broken("not all damage was put aside")
        if len(place.store.objects()) != 2:
            raise Broken(f"{len(place.store.objects())} of 2 objects were delivered")
        for _, (_, extra) in accepted.items():
            place.ask_until(uid, extra["number"])
    place.check(accepted)
    trial.count("damaged jobs put aside", len(kinds))


def tear_manifest(trial, job):
    text = (job / "manifest.json").read_bytes()
    (job / "manifest.json").write_bytes(text[:trial.random.randrange(len(text))])


def flip(trial, path):
    data = bytearray(path.read_bytes())
    data[trial.random.randrange(len(data))] ^= 1 << trial.random.randrange(8)
    path.write_bytes(data)


def flip_manifest(trial, job):
    flip(trial, job / "manifest.json")


def cut_archive(trial, job):
    path = job / "archive.tar.gz"
    os.truncate(path, trial.random.randrange(path.stat().st_size))


def flip_archive(trial, job):
    flip(trial, job / "archive.tar.gz")


def link_archive(trial, job):
    """To a file of the same bytes: it is the link that is refused."""
    (job / "archive.tar.gz").rename(trial.folder / f"{job.name}.gz")
    (job / "archive.tar.gz").symlink_to(trial.folder / f"{job.name}.gz")


def link_manifest(trial, job):
    (job / "manifest.json").rename(trial.folder / f"{job.name}.json")
    (job / "manifest.json").symlink_to(trial.folder / f"{job.name}.json")


def swap_names(trial, job):
    job.rename(job.with_name("".join(trial.random.choice("0123456789abcdef") for _ in range(32))))


def lose_manifest(trial, job):
    (job / "manifest.json").unlink()


def link_job(trial, job):
    job.rename(trial.folder / job.name)
    job.symlink_to(trial.folder / job.name)


@case("F67", "symlinks planted in the way of an upload, at each place of its path", quick=1)
def symlinks_are_in_the_way(trial):
    """Not followed: 202, kept, delivered when they are gone."""
    elsewhere, uploads, accepted = trial.folder / "elsewhere", trial.folder / "uploads", {}
    elsewhere.mkdir()
    uploads.mkdir()
    with file_house(trial) as place:
        uid, = place.load(few=200)
        with place.worker():
            (uploads / "metric_dumps").symlink_to(elsewhere)
            key = ask_and_keep(place, accepted, uid, 0, wanted=(202,))
            (uploads / "metric_dumps").unlink()
            place.wait_empty()
            place.check(accepted)
            folder, name = (uploads / key).parent, (uploads / key).name
            (uploads / key).unlink()
            (folder / f".{name}.part").symlink_to(elsewhere / "part")
            ask_and_keep(place, accepted, uid, 0, wanted=(202,))
            (folder / f".{name}.part").unlink()
            place.wait_empty()
            place.check(accepted)
            (uploads / key).unlink()
            (uploads / key).symlink_to(elsewhere / "object")
            ask_and_keep(place, accepted, uid, 0)
            if (uploads / key).is_symlink():
                raise Broken("a symlink is taken for an object")
        place.wait_empty()
        place.check(accepted)
        if list(elsewhere.iterdir()):
            raise Broken("a symlink was followed")


@case("F67", "a spool that is full, in jobs and in bytes", quick=1)
def spool_is_full(trial):
    """503 before anything is built, or when the archive outgrows what is left; others go on; 200 when there is room."""
    accepted, uploads = {}, trial.folder / "uploads"
    with file_house(trial) as place:
        small, great = place.load(small=20, great=20_000)
        uploads.write_text("in the way")
        with place.worker("--spool-jobs", "5"), place.role("query"):
            pile_up(place, accepted, small, range(5))
            for number in range(5, 15):
                refuse_full(trial, place, small, number)
            check_query(place, small, 20)
            key = place.ask_until(small, 0, wanted=(202,))  # its job is there: it is accepted already
            if key not in accepted or len(place.jobs()) != 5 or place.counts()["jobs"] != 5:
                raise Broken(f"{len(place.jobs())} jobs, {place.counts()}")
        room = sum(path.stat().st_size for path in place.data.rglob("archive.tar.gz")) + 50_000
        with place.worker("--spool-max", room), place.role("query"):
            refuse_full(trial, place, great, 100)
            pile_up(place, accepted, small, range(15, 20))
            if len(place.jobs()) != 10 or any(name.startswith(".") for name in place.spooled()):
                raise Broken(f"{place.spooled()}")
            check_query(place, great, 20_000)
            uploads.unlink()
            harness.run("spool", "retry", "--data", place.data)
            place.wait_empty()
        with place.worker():
            ask_and_keep(place, accepted, small, 5)
            ask_and_keep(place, accepted, great, 100)
        place.wait_empty()
        place.check(accepted)


def refuse_full(trial, place, uid, number):
    began = time.monotonic()
    status, text = place.ask(uid, number)
    trial.sample("refused after, s", time.monotonic() - began)
    if status != 503 or "spool" not in text:
        raise Broken(f"{status}: {text}")


@case("F67", "a spool that may not be written", quick=1)
def spool_is_read_only(trial):
    """503 with the reason, other requests are answered, and 200 when it may be written again."""
    accepted, user = {}, []
    if os.geteuid() == 0:  # to whom no mode is an obstacle, unless it has no capabilities
        user = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"]
    with file_house(trial) as place:
        uid, = place.load(few=200)
        with place.worker(prefix=user) as worker, place.role("query", prefix=user):
            (place.data / "spool").chmod(0o555)
            status, text = place.ask(uid, 0)
            if status != 503 or "spool" not in text and ".new-" not in text:
                raise Broken(f"{status}: {text}")
            check_query(place, uid, 200)
            if place.counts()["jobs"] != 0:
                raise Broken("a job in a spool that cannot be written")
            (place.data / "spool").chmod(0o755)
            ask_and_keep(place, accepted, uid, 0)
            assert worker.process.poll() is None
        place.wait_empty()
        place.check(accepted)


def check_query(place, uid, rows):
    """Other requests go on."""
    done = harness.run("query", uid, "--connect", place.endpoint, "--format", "csv", "--anomaly", "-1")
    if len(done.out.splitlines()) != rows + 1:
        raise Broken(f"{len(done.out.splitlines())} lines of a query")


@case("F67", "100,000 things in the spool that are no jobs", quick=0)
def spool_is_crowded(trial):
    """Answered at once, 200 or 503; others go on; memory stays; 200 when they are gone."""
    accepted = {}
    with file_house(trial) as place:
        uid, = place.load(few=200)
        (place.data / "spool").mkdir()
        planted = [place.data / "spool" / f"{kind}{number:032x}" for kind, number in
                   zip(itertools.cycle(["", ".new-", ".done-", "strange-", ".hidden-"]), range(100_000))]
        for path in planted:
            path.write_text("x")
        with place.worker() as worker, place.role("query"):
            for number in range(10):
                began = time.monotonic()
                status, text = place.ask(uid, number)
                trial.sample("answered after, s", time.monotonic() - began)
                if status not in (200, 202, 503):
                    raise Broken(f"{status}: {text}")
                if status != 503:
                    accepted[text] = (uid, {"number": number})
                check_query(place, uid, 200)
            trial.sample("peak, MiB", worker.peak() >> 20)
            if worker.peak() > (512 if harness.SLOW else 128) << 20:
                raise Broken(f"{worker.peak() >> 20} MiB")
            for path in planted:
                path.unlink(missing_ok=True)
            ask_and_keep(place, accepted, uid, 100)
        place.check(accepted)


# ---- F68: kill -9 --------------------------------------------------------------------------


def kill_workers(trial, store, **options):
    run = kills.Kills(trial.folder, trial.random, store, **options).run(trial.runs)
    trial.count("dumps accepted, each one object", len(run.accepted))
    for what in ("by call", "by time"):
        trial.count(f"killed {what}", run.count[what])
    for step, count in sorted(run.steps.items()):
        trial.count(f"at {step}", count)


@case("F68", "kill -9 a feedback worker at any call of a dump or at any time; a folder as the store",
      quick=0, full=250, shard=125)
def feedback_worker_is_killed(trial):
    kill_workers(trial, FileStore(trial.folder / "uploads"))


@case("F68", "kill -9 one of three feedback workers that share a spool; a folder as the store",
      quick=0, full=150, shard=75)
def sharing_worker_is_killed(trial):
    kill_workers(trial, FileStore(trial.folder / "uploads"), workers=3)


# ---- F69: SIGTERM --------------------------------------------------------------------------


@case("F69", "SIGTERM while an upload cannot go on", quick=2, full=20)
def worker_is_told_to_stop_in_an_upload(trial):
    """Exit 0 at once; what was accepted is still in the spool, and delivered after the next start."""
    with file_house(trial) as place:
        uid, = place.load(few=200)
        for number in range(trial.runs):
            accepted = {}
            with place.worker() as worker:
                key = place.ask_until(uid, number)
                accepted[key] = (uid, {"number": number})
                path = place.store.folder / key
                path.unlink()
                with open(path.with_name(f".{path.name}.part"), "w") as part:
                    fcntl.flock(part, fcntl.LOCK_EX)  # as by another delivery of the same object
                    ask_and_keep(place, accepted, uid, number, wanted=(202,))
                    trial.moment(0, 0.3)
                    began = time.monotonic()
                    worker.stop(timeout=10 * SLOWER)
                    trial.sample("stopped after, s", time.monotonic() - began)
                    if len(place.jobs()) != 1:
                        raise Broken("the job is not in the spool")
            with place.worker():
                place.wait_empty()
            place.check(accepted)
            path.unlink()


# ---- F70: the disk -------------------------------------------------------------------------

CALLS = "open,write,pwrite,ftruncate,fallocate,fsync,sync_file_range,rename,mkdir,unlink,flock"


@case("F70", "the nth call on a file of spool or uploads fails with ENOSPC or EIO (quick: each 15th)",
      quick=1, full=1, long=True)
def disk_fails(trial):
    """Once, and from then on until the disk is well: refused or kept, then one whole object; nothing is put aside."""
    stride = 15 if trial.quick else 4 if harness.SLOW else 1
    with file_house(trial) as place:
        uid, = place.load(many=2000)
        numbers, accepted = itertools.count(), {}
        for error, on in itertools.product((errno.ENOSPC, errno.EIO), (False, True)):
            tried = 0
            for nth in itertools.count(1 + trial.random.randrange(stride), stride):
                if not fail_call(trial, place, accepted, (uid, next(numbers)), nth, error, on):
                    break
                tried += 1
            if tried == 0:
                raise Broken("no call was made to fail")
        with place.worker():
            place.wait_empty()
        place.check(accepted)


def fail_call(trial, place, accepted, dump, nth, error, on):
    """False if a dump does not make so many calls."""
    log, sick = trial.folder / "failed.log", trial.folder / "sick"
    log.write_text("")
    settings = {"KILL_AT": nth, "KILL_AT_DO": error, "KILL_AT_CALLS": CALLS, "KILL_AT_PATH": trial.folder,
                "KILL_AT_WHEN": sick, "KILL_AT_LOG": log, **({"KILL_AT_ON": 1} if on else {})}
    with place.worker(env=preload(**settings)):
        sick.touch()
        status, text = place.ask(*dump, timeout_ms=3000)
        sick.unlink()
        if status not in (200, 202, 503, 504):
            raise Broken(f"{log.read_text()}: {status}: {text}")
        trial.count(f"answered {status}")
        failed = log.read_text()
        if status != 200 and not failed:
            raise Broken(f"nothing failed: {status}: {text}")
        ask_and_keep(place, accepted, *dump)
    trial.count("calls that failed", len(failed.splitlines()))
    return bool(failed)


@case("F70", "a spool on a file system that is full", quick=1)
def disk_is_full(trial):
    """503, half an archive is nowhere, smaller dumps go on; 200 when there is room."""
    with file_house(trial) as place:
        small, great = place.load(small=50, great=30_000)
        spool, accepted = place.data / "spool", {}
        spool.mkdir()
        with tmpfs(spool, "192k") as grow, place.worker() as worker:
            for _ in range(3):
                status, text = place.ask(great, 0)
                if status != 503 or "space" not in text:
                    raise Broken(f"{status}: {text}")
                if place.spooled() != ["quarantine"] or place.store.objects().keys() - accepted.keys():
                    raise Broken("half an archive is left")
                ask_and_keep(place, accepted, small, len(accepted))
            grow("64m")
            ask_and_keep(place, accepted, great, 0)
            place.wait_empty()
            worker.stop()
        place.check(accepted)


class tmpfs:
    """A small file system at a folder; gives a function that grows it."""

    def __init__(self, folder, size):
        self.folder, self.size = folder, size

    def __enter__(self):
        self.mount("-t", "tmpfs", "-o", f"size={self.size}", "tmpfs")
        return lambda size: self.mount("-o", f"remount,size={size}")

    def mount(self, *options):
        done = subprocess.run(["mount", *options, self.folder], capture_output=True, text=True)
        if done.returncode != 0:
            raise NotBuilt(f"no file system can be mounted here: {done.stderr.strip()}")

    def __exit__(self, *_):
        subprocess.run(["umount", "-l", self.folder], check=True)


# ---- F71, F72: two at once -----------------------------------------------------------------


@case("F71", "three workers on one spool, jobs that all fall due at once, and the same request to all of them",
      quick=1, full=10, shard=5)
def workers_share_a_spool(trial):
    """Each job is delivered once, and each request is answered for it."""
    for run in range(trial.runs):
        with file_house(trial, env={"METRICMQ_LOG_LEVEL": "info"}) as place:
            uid, = place.load(**{f"shared{run}": 200})
            share_spool(trial, place, uid, run * 1000)
        shutil.rmtree(place.data)
        shutil.rmtree(place.store.folder)


def share_spool(trial, place, uid, first):
    accepted, workers = {}, []
    place.store.folder.write_text("in the way")
    try:
        workers += [place.worker() for _ in range(3)]
        pile_up(place, accepted, uid, range(first, first + 30))
        place.store.folder.unlink()
        pile_up(place, accepted, uid, [first + 30] * 12, wanted=(200,))
        place.wait_empty()
    finally:
        for worker in workers:
            worker.stop()
    place.check(accepted)
    delivered = [line for worker in workers for line in worker.errors().splitlines() if "dump delivered" in line]
    for key, (_, extra) in accepted.items():
        times = sum(key in line for line in delivered)
        if times != 1 and extra["number"] != first + 30 or times == 0:
            raise Broken(f"{key} was delivered {times} times")
    trial.count("jobs, each delivered once", 30)


@case("F72", "two different dumps of one metric in the same second", quick=1, full=5)
def dumps_are_of_one_second(trial):
    """Two objects; the same request, however its keys are ordered, has one."""
    with file_house(trial) as place:
        uid, = place.load(few=20)
        with place.worker():
            for run in range(trial.runs):
                accepted = dict(place_keys(place, uid, run))
                if len(accepted) != 3:
                    raise Broken(f"{len(accepted)} objects of 3 requests")
                place.check(accepted)
                shutil.rmtree(place.store.folder)


def place_keys(place, uid, number):
    for extra in ({"a": 1, "b": {"c": 2, "d": 3}}, {"b": {"d": 3, "c": 2}, "a": 1}, {"a": 1}, {"a": 2}):
        yield place.ask_until(uid, number, extra=extra), (uid, {"number": number, **extra})


# ---- F73, F74, F76: what a request holds ---------------------------------------------------

OURS = ("uid", "metric", "server_id")


def odd_text(random):
    """Texts that have broken quoting, encoding and paths elsewhere."""
    return random.choice([
        '"', "\\", "'", "\r\n", "\n.\r\n", "\t\b\f\v", "\x01\x1f\x7f", "a,b", "%s%n", "../../etc/passwd", "${HOME}",
        "\u20ac", "\U0001f600", "\ufeff", "\u2028\u2029", "\ud7ff\ue000", "\u202e", "", " ", "null", "NaN", "a" * 5000,
        "".join(chr(random.choice([random.randrange(1, 0xD800), random.randrange(0xE000, 0x110000)]))
                for _ in range(40))])


def odd_value(random, depth=0):
    kind = random.randrange(10 if depth < 6 else 7)
    if kind < 4:
        return odd_text(random)
    if kind < 7:
        return random.choice([None, True, False, 0, -1, (1 << 53) - 1, -(1 << 63), 1 << 64, 1.5, -0.5, 1e300, 5e-324])
    if kind == 7:
        return [odd_value(random, depth + 1) for _ in range(random.randrange(5))]
    return odd_object(random, depth + 1)


def odd_object(random, depth=0):
    return {odd_text(random) + str(number): odd_value(random, depth) for number in range(random.randrange(6))}


def post(program, body):
    status, _, answer = harness.http_get(program, "/_logging/feedback", method="POST",
                                         body=body if isinstance(body, bytes) else json.dumps(body))
    return status, answer.decode()


def hold_metric(trial, **options):
    """`up` with one metric: (program, its uid, its rows' digest)."""
    rows = list(dumps.source_rows(trial.random, 20))
    dumps.write_csv(trial.folder / "held.csv", rows, True)
    program = harness.up(trial.folder / "data", **options)
    uid = harness.run("import", "--connect", program.ready["clients"], trial.folder / "held.csv").out.split()[0]
    return program, uid, dumps.digest(dumps.wanted_csv(uid, rows, True))


def read_object(trial, key):
    return dumps.summary((trial.folder / "data" / "uploads" / key).read_bytes())


@case("F73", "extra fields: quotes, line ends, controls, any Unicode, deep, long, of reserved names, in HTTP bodies",
      quick=60, full=600, shard=150)
def extra_is_odd(trial):
    """What is accepted comes back as it was; the record, the server's id and the rows are ours."""
    program, uid, wanted = hold_metric(trial)
    with program:
        for _ in range(trial.runs):
            extra = odd_object(trial.random)
            reserved = {name: odd_value(trial.random) for name in OURS[1:] if trial.random.random() < 0.3}
            status, text = post(program, {**extra, **reserved, "uid": uid})
            if status != 200:
                raise Broken(f"{status}: {text}: {extra}")
            about, rows = read_object(trial, text)
            record = json.loads(about.pop("metric"))
            if (record["uid"], rows, about.pop("server_id")) != (uid, wanted, server_id(trial)):
                raise Broken(f"{extra}: the record, the rows or the server's id are others")
            if about != extra:
                raise Broken(f"{extra} came back as {about}")


def server_id(trial):
    return (trial.folder / "data" / "server_id").read_text().strip()


@case("F73", "extra fields of 1 MiB, bad UTF-8, lone surrogates, keys twice, too deep, no strings as keys", quick=1)
def extra_is_bad(trial):
    """Each is refused with 400 or 413, or comes back as it was; nothing is built of a refused one."""
    program, uid, _ = hold_metric(trial)
    quoted = json.dumps(uid).encode()
    with program:
        great = "\u20ac\"\\" * 170_000  # in JSON 12 bytes a piece are too many, in UTF-8 as they are they fit
        for body, wanted in ((b'{"uid":%s,"a":"\xff\xfe"}' % quoted, 400), (b'{"uid":%s,"\xc0\x80":1}' % quoted, 400),
                             (b'{"uid":%s,"a":"\\ud800"}' % quoted, 400), (b'{"uid":%s,"a":1,"a":2}' % quoted, 400),
                             (b'{"uid":%s,"uid":"other"}' % quoted, 400), (b'{"uid":%s,"a":%s1%s}' % (
                                 quoted, b"[" * 5000, b"]" * 5000), 400),
                             (json.dumps({"uid": uid, "a": great}).encode(), 413), (b'{"uid":["x"]}', 400), (b'[]', 400),
                             (b'{"uid":"../../x"}', 400), (b'{"uid":"no-such-metric"}', 404)):
            status, text = post(program, body)
            if status != wanted:
                raise Broken(f"{status} instead of {wanted}: {body[:80]}: {text}")
        if (trial.folder / "data" / "uploads").exists():
            raise Broken("something was delivered")
        fits = "\u20ac" * 340_000
        status, text = post(program, json.dumps({"uid": uid, "a": fits}, ensure_ascii=False).encode())
        if status != 200 or read_object(trial, text)[0]["a"] != fits:
            raise Broken(f"{status}: a string of 1 MiB")
        bad_bodies_over_the_bus(program, uid)


def bad_bodies_over_the_bus(program, uid):
    with bus.Bus(program.ready["clients"]) as client:
        for changed in ({"extra": {"a": b"\xff"}}, {"extra": {1: 2}}, {"extra": []}, {"extra": None}, {"created": -1},
                        {"created": 1 << 60}, {"uid": "a/b"}, {"upload": "file:/tmp/x"}, {"key": "x"}, {"server_id": "x"},
                        {"target": "s3://x"}, {"prefix": "x"}):
            body = {"op": "dump", "uid": uid, "created": 1, "extra": {}, **changed}
            try:
                client.call("metric.feedback", body)
            except bus.Refused as refused:
                if refused.status == 400:
                    continue
            raise Broken(f"{changed} was not refused with 400")


@case("F76", "requests that name a target, a key, a bucket, an endpoint, a server or a file of their own", quick=1)
def request_names_a_target(trial):
    """Over HTTP it is data like any other, over the bus 400; everything goes to the one target."""
    program, uid, _ = hold_metric(trial)
    elsewhere = trial.folder / "elsewhere"
    names = ("upload", "target", "key", "prefix", "bucket", "endpoint", "s3-endpoint", "upload_to", "op", "created", "store")
    with program:
        for name in names:
            for value in (f"file:{elsewhere}", f"s3://bucket/{elsewhere}", f"../../../../{elsewhere}", str(elsewhere)):
                status, text = post(program, {"uid": uid, name: value})
                if status != 200 or read_object(trial, text)[0][name] != value:
                    raise Broken(f"{name}={value}: {status} {text}")
        bad_bodies_over_the_bus(program, uid)
    folders = {path.parent for path in (trial.folder / "data" / "uploads").rglob("*") if path.is_file()}
    if elsewhere.exists() or folders != {trial.folder / "data" / "uploads" / "metric_dumps"}:
        raise Broken(f"something is in {folders}")
