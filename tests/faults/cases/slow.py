"""HTTP clients that are slow on purpose (slowhttptest), and those that are not, beside them."""
import contextlib
import http.client
import statistics
import subprocess
import threading
import time

import harness
from catalogue import case
from cases.crowds import room_for
from history import Broken
from stand import SLOWER

DEADLINE_S = 15  # of a header, and for a body or a reader to get ahead
LENGTH_S = 100  # of the attack: far longer
EACH = 256 << 10  # bytes that one of them may hold


def times(url, path, count, pause=0.002):
    """How long so many requests take, one after another on one connection that is made anew if it is lost."""
    found = []
    connection = http.client.HTTPConnection(url.removeprefix("http://").rstrip("/"), timeout=60)
    with contextlib.closing(connection):
        for _ in range(count):
            began = time.monotonic()
            connection.request("GET", path)
            answer = connection.getresponse()
            if answer.status != 200 or not answer.read():
                raise Broken(f"a good client got {answer.status}")
            found.append(time.monotonic() - began)
            threading.Event().wait(pause)
    return found


def p99(found):
    return statistics.quantiles(found, n=100)[98] * 1000


def attack(trial, *options, path="/_models/data?anomaly=-1"):
    """slowhttptest with so many connections; a good client before and beside it."""
    count = room_for(200 if trial.quick else 2000)
    asked = 300 if trial.quick else 2000
    with harness.up(trial.folder / "data", "--header-timeout", f"{DEADLINE_S}s", "--stall-timeout", f"{DEADLINE_S}s") as program:
        harness.run("demo", "--connect", program.ready["clients"], "--metrics", "20", "--rows", "10000")
        url = program.ready["http"].rstrip("/")
        uid = harness.http_get(program, "/_models")[2].split(b'"')[3].decode()
        good = f"/_models/{uid}/data?limit=1"
        before = p99(times(url, good, asked))
        descriptors, memory = program.descriptors(), program.rss()
        began = time.monotonic()
        tool = subprocess.Popen(["slowhttptest", *map(str, options), "-c", str(count), "-r", str(count // 4), "-l",
                                 str(LENGTH_S), "-p", "30", "-v", "1", "-u", url + path], stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT, text=True)
        harness.wait_until(lambda: program.descriptors() >= descriptors + count * 9 // 10, 30, "the crowd")
        beside = p99(times(url, good, asked))
        more = program.rss() - memory
        trial.note(f"memory beside {count}: {more >> 20} MiB more")
        harness.wait_until(lambda: program.descriptors() <= descriptors + 8, LENGTH_S, "the last one to be cut")
        trial.sample("until all were cut, s", time.monotonic() - began)
        tool.terminate()
        tool.communicate()
        trial.sample("p99 alone, ms", before)
        trial.sample("p99 beside them, ms", beside)
        if beside > 2 * before + (20 * SLOWER if trial.quick else 1):
            raise Broken(f"p99 is {beside:.1f} ms beside them, {before:.1f} ms alone")
        if more > SLOWER * (count * EACH + (32 << 20)):
            raise Broken(f"{count} connections hold {more >> 20} MiB")


@case("F32", "2,000 connections that send their headers slowly (quick: 200)", alone=True)
def headers_are_slow(trial):
    """Good clients hardly notice; all are cut by the header's deadline."""
    attack(trial, "-H", "-i", 1, "-x", 8)


@case("F33", "2,000 connections that send their bodies slowly (quick: 200)", alone=True)
def bodies_are_slow(trial):
    """Good clients hardly notice; all are cut since they do not get ahead."""
    attack(trial, "-B", "-i", 1, "-x", 8, "-s", 100000, path="/_logging/feedback")


@case("F34", "2,000 connections that read a long answer slowly (quick: 200)", alone=True)
def readers_are_slow(trial):
    """Good clients hardly notice; all are cut since they do not get ahead; memory is bounded."""
    attack(trial, "-X", "-n", 1, "-z", 32, "-w", 256, "-y", 512)
