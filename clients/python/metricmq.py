"""A client of metricmq's bus: one file on pyzmq and msgpack (Debian: python3-zmq, python3-msgpack).

    import metricmq

    with metricmq.Client("tcp://127.0.0.1:5750") as client:
        for row in client.query("b2f2...", from_="2026-01-01 00:00:00", anomaly=0.9):
            print(row.time, row.value, row.anomaly_score)

Design, and what always holds:

- A stream is whole or it raises. Only a last page's FINAL with ``next`` = nil ends it; its parts are counted
  (``seq``) and each bears a cursor, so that a page that breaks (worker, broker or connection lost, 503, 504) is
  taken up again behind the last row that came: no row comes twice, none is missing.
- What may be sent again and what not is the C client's rule (docs/clients.md): queries, ``create``, ``delete``,
  ``score``, ``append`` with ``first_rowid`` and ``feedback`` are, after a loss or a 503, until their timeout;
  ``append`` without ``first_rowid`` is sent once and ends in `Unavailable` if it is not known what became of it.
- Nothing is sent before a broker has finished the handshake, and a DEALER is used for one connection only: no
  request reaches a broker after its sender was told that it is lost.
- Memory: at most two pages wait undecoded for the reader (the next one is asked for ahead of need), and one
  frame of at most 256 KiB (as our workers make them) is decoded at a time, however slow the reader is.
- Every byte that comes is checked before it is believed. What belongs to no request is dropped and counted.
- A `Client` belongs to one thread at a time; several generators of one client may be open at once. Threads that
  ask at the same time have a client each. A client must not be used on both sides of a fork.

Names are those of docs/protocol.md. Times on the wire are seconds since the epoch, UTC.
"""
from __future__ import annotations

import collections
import datetime
import functools
import itertools
import math
import os
import random
import secrets
import stat
import struct
import threading
import time
from typing import Any, Callable, Iterable, Iterator, Mapping, NamedTuple, Sequence

import msgpack
import zmq

__version__ = "0.1.0"
__all__ = ["Appended", "BadRequest", "Client", "Conflict", "Curve", "Denied", "Dump", "ExportRow", "Failed", "Gone",
           "MetricmqError", "Model", "NotFound", "NotModified", "ProtocolError", "Row", "Timeout", "TooBig",
           "TooMany", "Unavailable", "epoch", "utc"]

ENDPOINT = "tcp://127.0.0.1:5750"
BODY_MAX = 4 << 20  # bytes of a request
MESSAGE_MAX = 17 << 20  # bytes of an answer: a page of 16 MiB and room
TIMEOUT = 30.0  # seconds
TIMEOUT_MAX = 300.0
CURSOR_MAX = 4096  # bytes
UID_MAX = 100  # bytes
PAGES_HELD_MAX = 2

Time = int | str | datetime.datetime  # epoch seconds, "YYYY-MM-DD HH:MM:SS" UTC, or one that knows its zone


# ---- what goes wrong ------------------------------------------------------------------------------------------


class MetricmqError(Exception):
    """A request or a stream that failed; each kind is a class of its own.

    `status` is HTTP's number as in FINAL (0: there was no answer that had one), `error` the sentence that says
    what was wrong, `trace` what the request bears in the logs of adapter and workers. Of a stream that broke,
    `cursor` is the place behind the last row that was handed out (None: none was); ``query(..., cursor=...)`` with
    the same arguments goes on there.
    """

    status = 0

    def __init__(self, error: str, status: int | None = None, trace: str = "", cursor: str | None = None):
        self.status = type(self).status if status is None else status
        self.error, self.trace, self.cursor = error, trace, cursor
        super().__init__(error)

    def __str__(self) -> str:
        return f"{self.status}: {self.error}" if self.status else self.error


class NotModified(MetricmqError):
    """`unless` was the state of the answer: nothing has changed (304)."""
    status = 304


class BadRequest(MetricmqError):
    """The request is wrong: an argument, a uid, a time (400, and others of that kind)."""
    status = 400


class Denied(MetricmqError):
    """This key has no right to that (403, 401)."""
    status = 403


class NotFound(MetricmqError):
    """There is no such metric or row (404)."""
    status = 404


class Conflict(MetricmqError):
    """What is there differs from what was sent (409)."""
    status = 409


class Gone(MetricmqError):
    """The cursor is older than the store remembers (410): begin anew."""
    status = 410


class TooBig(MetricmqError):
    """The request is over a bound (413); it may have been refused before it was sent."""
    status = 413


class TooMany(MetricmqError):
    """Too many requests (429)."""
    status = 429


class Failed(MetricmqError):
    """The service failed (500, and others of that kind)."""
    status = 500


class Unavailable(MetricmqError):
    """Nobody could serve it, or the connection was lost with it (503)."""
    status = 503


class Timeout(MetricmqError, TimeoutError):
    """No answer within the timeout (504)."""
    status = 504


class ProtocolError(MetricmqError):
    """The peer broke the protocol: what came is not what docs/protocol.md says, or a stream has no end mark."""


_KINDS = {kind.status: kind for kind in (NotModified, BadRequest, Denied, NotFound, Conflict, Gone, TooBig, TooMany,
                                         Failed, Unavailable, Timeout)}


def _error(status: int, sentence: str, trace: str = "") -> MetricmqError:
    kind = _KINDS.get(403 if status == 401 else status)
    if kind is None:
        kind = ProtocolError if status < 400 else BadRequest if status < 500 else Failed
    return kind(sentence, status, trace)


# ---- what comes and goes --------------------------------------------------------------------------------------


def epoch(when: Time) -> int | str:
    """A time as it goes over the wire: a datetime becomes epoch seconds, all else stays. A datetime must know its
    time zone."""
    if isinstance(when, datetime.datetime):
        if when.tzinfo is None:
            raise ValueError(f"{when} has no time zone; metricmq's times are UTC: when.replace(tzinfo=timezone.utc)")
        return math.floor(when.timestamp())
    if isinstance(when, bool) or not isinstance(when, (int, str)):
        raise TypeError(f"a time is an int, a str or a datetime, not {type(when).__name__}")
    return when


def utc(timestamp: int) -> datetime.datetime:
    """Epoch seconds as a datetime in UTC."""
    return datetime.datetime.fromtimestamp(timestamp, datetime.timezone.utc)


class Row(NamedTuple):
    """A row of a stream. An absent score is None; floats are those of the store, bit for bit."""

    uid: str
    timestamp: int  # epoch seconds
    value: float
    anomaly_score: float | None
    rowid: int  # 1, 2, 3... in the order of arrival

    @property
    def time(self) -> datetime.datetime:
        return utc(self.timestamp)


class ExportRow(NamedTuple):
    """A row of an export, as `append` takes it."""

    timestamp: int
    value: float
    anomaly_score: float | None
    raw_score: float | None


class Model(NamedTuple):
    """A metric's record."""

    uid: str
    datasource: str | None
    name: str | None
    description: str | None
    server: str | None
    location: str | None
    parameters: dict | None
    status: int | None  # 0 unmonitored, 1 active, 2 create pending, 4 error, 8 pending data
    message: str | None
    last_timestamp: str | None  # "YYYY-MM-DD HH:MM:SS" UTC
    poll_interval: int | None  # seconds
    tag_name: str | None
    last_rowid: int | None
    display_name: str | None


class Appended(NamedTuple):
    """What `append` did: rowids of the request's rows, and how many of them were not there before."""

    first_rowid: int
    last_rowid: int
    added: int


class Dump(NamedTuple):
    """An accepted dump. `state` is None when the archive is delivered under `key`; else it is safe in the spool,
    `waiting`, `settings` or `held`, and `error` is the last failure's sentence, if there was one."""

    key: str
    state: str | None
    error: str | None


class Curve(NamedTuple):
    """CURVE keys (RFC 26) of a client, in Z85, 40 characters each: its own pair and the broker's public one."""

    public_key: str
    secret_key: str
    server_key: str

    def __repr__(self) -> str:  # never the secret
        return f"Curve(public_key={self.public_key!r}, server_key={self.server_key!r})"

    @classmethod
    def load(cls, key_file: str | os.PathLike, server_file: str | os.PathLike) -> Curve:
        """Reads the client's secret certificate and the broker's public one, as `metricmq keygen` and czmq's zcert
        write them. ValueError if one is damaged, or if others may read the secret."""
        own, server = _certificate(key_file, secret=True), _certificate(server_file, secret=False)
        if zmq.curve_public(own["secret-key"].encode()).decode() != own["public-key"]:
            raise ValueError(f"{key_file}: its two keys are not of one pair")
        return cls(own["public-key"], own["secret-key"], server["public-key"])


def _certificate(path: str | os.PathLike, secret: bool) -> dict[str, str]:
    with open(path, encoding="utf-8") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode) or status.st_size > 8192:
            raise ValueError(f"{path}: no certificate")
        if secret and status.st_mode & (stat.S_IRWXO | stat.S_IWGRP):
            raise ValueError(f"{path}: it holds a secret that others may read or change: chmod 600")
        lines = file.read().splitlines()
    keys, section = {}, ""
    for line in lines:
        name, equals, value = line.partition("=")
        if line[:1] not in ("", " ", "\t", "#"):
            section = line.strip()
        elif equals and section == "curve":
            keys[name.strip()] = value.strip().strip("\"'")
    for name in ("public-key", "secret-key")[:1 + secret]:
        if len(keys.get(name, "")) != 40:
            raise ValueError(f"{path}: there is no {name} of 40 characters of Z85")
    return keys


# ---- msgpack --------------------------------------------------------------------------------------------------

# raw16 from 32 bytes on, never str8, as all of metricmq writes.
_packer = functools.partial(msgpack.Packer, use_bin_type=False, unicode_errors="surrogateescape")
# No tuple is made for more values than this before they have come: an array's head may lie.
_BOUNDS = {"max_array_len": 10_000}
_ROW_BOUNDS = {"max_array_len": 6, "max_map_len": 0, "max_str_len": UID_MAX, "max_bin_len": 0, "max_ext_len": 0}
_ROW_NAMES = ("names", *Row._fields)
_INT64_END = 1 << 63


def _unpack(data: bytes, what: str, **bounds: Any) -> list:
    """All values of a concatenation, checked to be whole: a nil behind them must come out as a nil."""
    unpacker = msgpack.Unpacker(use_list=False, max_buffer_size=len(data) + 1, **{**_BOUNDS, **bounds})
    try:
        unpacker.feed(data)
        unpacker.feed(b"\xc0")
        values = list(unpacker)
    except (ValueError, TypeError, msgpack.UnpackException) as fault:
        raise ProtocolError(f"{what} is no msgpack as it should be: {fault}") from None
    if not values or values.pop() is not None:
        raise ProtocolError(f"{what} is cut off")
    return values


def _types(column: Iterable) -> set[type]:
    return set(map(type, column))


def _check_integers(column: Sequence) -> bool:
    return _types(column) == {int} and max(column) < _INT64_END


def _numbers(column: Sequence, none: bool = False) -> Sequence:
    """The column as floats (other writers send whole numbers as integers); ValueError if one is not finite."""
    types = _types(column)
    if not types <= ({float, int, type(None)} if none else {float, int}):
        raise ValueError
    if int in types:
        column = [float(number) if type(number) is int else number for number in column]
    if not all(map(math.isfinite, filter(None, column))):  # NaN is true
        raise ValueError
    return column


def _make_rows(kind: type, rows: list, integers: tuple, numbers: tuple) -> list:
    """Checks a list of tuples column by column, in C for the greater part, and makes them namedtuples."""
    fault = ProtocolError("what should be a row is none")
    if not rows:
        return rows
    if _types(rows) != {tuple} or set(map(len, rows)) != {len(kind._fields)}:
        raise fault
    columns = list(zip(*rows))
    changed = False
    for at in integers:
        if not _check_integers(columns[at]):
            raise fault
    try:
        for at, none in numbers:
            column = _numbers(columns[at], none)
            changed |= column is not columns[at]
            columns[at] = column
    except (ValueError, OverflowError):
        raise fault from None
    if kind is Row and (_types(columns[0]) != {str} or "" in columns[0]):
        raise fault
    return list(map(functools.partial(tuple.__new__, kind), zip(*columns) if changed else rows))


def _decode_rows(payload: bytes, begins: bool) -> list[Row]:
    """A data stream's payload; `begins`: the first one, which begins with the names of the columns."""
    rows = _unpack(payload, "a payload of rows", **_ROW_BOUNDS)
    if begins and (not rows or rows.pop(0) != _ROW_NAMES):
        raise ProtocolError("the stream does not begin with the names of its columns")
    return _make_rows(Row, rows, (1, 4), ((2, False), (3, True)))


_MODEL_TYPES = {"parameters": dict, "status": int, "poll_interval": int, "last_rowid": int}  # the others are texts


def _make_model(record: Any) -> Model:
    if type(record) is not dict:
        raise ProtocolError("what should be a metric's record is none")
    values = []
    for name in Model._fields:
        value = record.get(name)
        if type(value) is not _MODEL_TYPES.get(name, str) and (value is not None or name == "uid"):
            raise ProtocolError(f"a metric's record has no {name} as it should be")
        values.append(value)
    return Model(*values)


def _one_map(payload: bytes | None, what: str) -> dict:
    values = _unpack(payload or b"", what)
    if len(values) != 1 or type(values[0]) is not dict:
        raise ProtocolError(f"{what} is not one map")
    return values[0]


def _is_text(value: Any, most: int) -> bool:
    return value is None or (type(value) is str and len(value.encode(errors="surrogateescape")) <= most)


def _is_number(value: Any) -> bool:
    return value is None or (type(value) is int and 0 <= value < _INT64_END)


def _parse_header(frame: bytes) -> dict | None:
    """The header of PARTIAL or FINAL; None if it is malformed. Keys that we do not know are newer than we are."""
    try:
        header = msgpack.unpackb(frame, strict_map_key=False, unicode_errors="surrogateescape", **_BOUNDS)
    except (ValueError, TypeError, msgpack.UnpackException):
        return None
    if type(header) is not dict or not all(type(key) is str for key in header):
        return None
    good = (all(_is_number(header.get(key)) for key in ("status", "rows", "seq"))
            and all(_is_text(header.get(key), CURSOR_MAX) for key in ("cursor", "next"))
            and all(_is_text(header.get(key), MESSAGE_MAX) for key in ("error", "state", "trace")))
    return header if good else None


def _sentence(header: Mapping) -> str:
    """A header's error; "" if it is not UTF-8."""
    text = header.get("error") or ""
    try:
        text.encode()
    except UnicodeEncodeError:
        return ""
    return text


# ---- the connection -------------------------------------------------------------------------------------------

_PING = 1.0
_PING_TIMEOUT, _PING_TIMEOUT_SEVERAL = 5.0, 3.0  # with several brokers there is somewhere else to go
_PATIENCE, _PATIENCE_MAX = 0.5, 4.0  # with a broker that does not finish the handshake
_PAUSE, _PAUSE_MAX = 0.1, 0.25  # between two rounds through the list
_LASTING = 1.0  # a connection that lasted so long was a good one
_FOREVER_MS = 24 * 3600 * 1000
_HANDSHAKE_FAILED = (zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
                     | zmq.EVENT_HANDSHAKE_FAILED_AUTH)


def _backoff(failures: int, least: float, most: float) -> float:
    """Seconds, doubled with each failure before; a random part between half and all of them, so that those who
    failed together do not come back together."""
    return min(least * 2.0 ** min(failures, 20), most) * (1 + random.random()) / 2


def _split_endpoints(connect: str | Sequence[str]) -> list[str]:
    endpoints = connect.split(",") if isinstance(connect, str) else list(connect)
    if not 1 <= len(endpoints) <= 8 or not all(endpoints) or len(set(endpoints)) != len(endpoints):
        raise ValueError(f"{connect!r}: want 1 to 8 different endpoints, as tcp://a:5750,tcp://b:5750")
    for endpoint in endpoints:
        port = endpoint.rpartition(":")[2]
        if endpoint.startswith("tcp://") and not (port.isdecimal() and 0 < int(port) < 65536):
            raise ValueError(f"{endpoint}: not an endpoint that can be connected to")
    return endpoints


class _Link:
    """A connection to one broker of a list at a time. The first that finishes the handshake is used until it is
    lost, then the next, round and round; with one endpoint libzmq repeats the attempts."""

    def __init__(self, endpoints: list[str], curve: Curve | None, context: zmq.Context):
        self.endpoints, self.curve, self.context = endpoints, curve, context
        self.several = len(endpoints) > 1
        self.socket: zmq.Socket | None = None  # None between two connections
        self.monitor: zmq.Socket | None = None
        self.poller = zmq.Poller()
        self.at = 0  # the endpoint in use, or tried next
        self.serial = 0  # of the connection
        self.failures = 0  # endpoints left in a row without a connection that lasted
        self.denied = False  # an attempt ended in the handshake, and none has succeeded since
        self.open_at = self.connected_at = 0.0
        self.connected = self.refused = False
        self.open()

    def open(self) -> None:
        self.open_at, self.connected_at, self.connected, self.refused = time.monotonic(), 0.0, False, False
        endpoint = self.endpoints[self.at]
        socket = self.context.socket(zmq.DEALER)
        try:
            self._set_options(socket, endpoint)
            events = zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED | _HANDSHAKE_FAILED
            monitor = socket.get_monitor_socket(events | (zmq.EVENT_CLOSED if self.several else 0))
            socket.connect(endpoint)
        except zmq.ZMQError as fault:
            self.close_socket(socket)
            raise ValueError(f"{endpoint}: {fault}") from None
        self.socket, self.monitor = socket, monitor
        self.connected = endpoint.startswith("inproc:")  # there is always one, and it is never lost
        for each in (socket, monitor):
            self.poller.register(each, zmq.POLLIN)

    def _set_options(self, socket: zmq.Socket, endpoint: str) -> None:
        """lib/dealer.c has the reasons: with ZMTP pings no high-water mark for input, no lingering, no TTL."""
        socket.linger = 0
        socket.ipv6 = "[" in endpoint
        socket.sndhwm, socket.rcvhwm = 1000, 0
        socket.maxmsgsize = MESSAGE_MAX
        socket.reconnect_ivl = _FOREVER_MS if self.several else 100
        socket.connect_timeout, socket.handshake_ivl = 1500, 5000
        socket.heartbeat_ivl = int(_PING * 1000)
        socket.heartbeat_timeout = int((_PING_TIMEOUT_SEVERAL if self.several else _PING_TIMEOUT) * 1000)
        if self.curve:
            socket.curve_serverkey = self.curve.server_key.encode()
            socket.curve_publickey = self.curve.public_key.encode()
            socket.curve_secretkey = self.curve.secret_key.encode()

    @staticmethod
    def close_socket(socket: zmq.Socket) -> None:
        monitor = socket.get_monitor_socket()
        socket.disable_monitor()
        monitor.close(0)
        socket.close(0)

    def check(self, now: float) -> bool:
        """Takes note of what happened to the connection, and opens the next if it is time. True if it is lost or
        cannot be made: it must be left."""
        if self.socket is None and now >= self.open_at:
            try:
                self.open()
            except (ValueError, zmq.ZMQError):  # no descriptors left
                self.open_at = now + _PAUSE_MAX
        if self.socket is None:
            return False
        if self._take_events(now):
            return True
        if self.connected or not self.several:
            return False
        return self.refused or now - self.open_at >= self._patience()

    def _take_events(self, now: float) -> bool:
        lost = False
        while self.monitor.get(zmq.EVENTS) & zmq.POLLIN:
            event = struct.unpack("=H", self.monitor.recv_multipart()[0][:2])[0]
            self.connected = event == zmq.EVENT_HANDSHAKE_SUCCEEDED
            self.refused = event == zmq.EVENT_CLOSED
            lost |= event == zmq.EVENT_DISCONNECTED
            if self.connected:
                self.connected_at = now
            self.denied = not self.connected and (self.denied or bool(event & _HANDSHAKE_FAILED))
        return lost

    def _rounds(self) -> int:
        return self.failures // len(self.endpoints)

    def _patience(self) -> float:
        return min(_PATIENCE * 2.0 ** min(self._rounds(), 8), _PATIENCE_MAX)

    def leave(self, now: float) -> zmq.Socket:
        """Goes on to the next endpoint. The result is to be read to its end, then closed."""
        socket, self.socket = self.socket, None
        for each in (socket, self.monitor):
            self.poller.unregister(each)
        self.serial += 1
        lasted = self.connected_at > 0 and now - self.connected_at >= _LASTING
        self.failures = 1 if lasted else self.failures + 1
        self.at = (self.at + 1) % len(self.endpoints)
        self.connected, self.open_at = False, now
        if self.failures % len(self.endpoints) == 0:
            self.open_at += _backoff(self._rounds() - 1, _PAUSE, _PAUSE_MAX)
        return socket

    def due(self) -> float:
        """When to check again even if nothing comes."""
        if self.socket is None:
            return self.open_at
        return self.open_at + self._patience() if self.several and not self.connected else math.inf

    def wait(self, seconds: float) -> None:
        if self.socket is None:
            time.sleep(seconds)
        else:
            self.poller.poll(None if seconds == math.inf else math.ceil(seconds * 1000))

    def close(self) -> None:
        if self.socket is not None:
            self.close_socket(self.leave(0.0))
        self.open_at = math.inf


# ---- requests -------------------------------------------------------------------------------------------------

_RETRY, _RETRY_MAX = 0.05, 2.0  # between tries
_GRACE = 0.25  # the broker answers 504 or better itself; then we give up
_FORGET = 60.0  # a forgotten mmi.* answer does not come any more
_MESSAGES = 64  # of one turn
_LAST_MESSAGES = 65536  # over what came before a loss
_WAITING, _UNSENT, _SENT, _LOST = range(4)

_Answer = Callable[[bool, dict, bytes | None], None]  # (final, header, payload)


class _Call:
    """A request under way. Each try has an id of its own, so that late answers of an earlier one are dropped."""

    __slots__ = ("service", "pairs", "count", "retry", "deadline", "due", "state", "tries", "id", "connection",
                 "forgotten", "answer")

    def __init__(self, service: str, pairs: bytes, count: int, retry: bool, answer: _Answer):
        self.service, self.pairs, self.count = service, pairs, count  # of mmi.*: pairs is the body
        self.retry, self.answer = retry, answer
        self.state, self.tries, self.id, self.connection, self.forgotten = _WAITING, 0, 0, 0, False
        self.deadline = self.due = 0.0

    @property
    def mmi(self) -> bool:
        return self.service.startswith("mmi.")


def _pack_pairs(args: Mapping[str, Any]) -> tuple[bytes, int]:
    pack = _packer().pack
    given = {key: value for key, value in args.items() if value is not None}
    return b"".join(pack(key) + pack(value) for key, value in given.items()), len(given)


class _Bus:
    """Requests over a link. Sockets are touched, and answers handed over, in `step` only; no code of the user's
    runs there."""

    def __init__(self, link: _Link):
        self.link = link
        self.calls: dict[int, _Call] = {}
        self.mmi: list[_Call] = []  # those that were sent, in that order: their answers bear no id
        self.ids = itertools.count(1)
        self.dropped = 0  # answers that belonged to no request
        self.guard = threading.RLock()
        self.packer = _packer()

    def enter(self) -> Any:
        if not self.guard.acquire(blocking=False):
            raise RuntimeError("another thread uses this metricmq.Client just now: make one for each thread")
        return self.guard

    def send(self, service: str, args: Mapping[str, Any] | bytes, timeout: float, retry: bool, answer: _Answer,
             delay: float = 0.0) -> _Call:
        """The answer comes from `step`; the FINAL always comes: past the timeout we make one, 504."""
        pairs, count = (args, 0) if isinstance(args, bytes) else _pack_pairs(args)
        if len(pairs) > BODY_MAX - 64:
            raise TooBig(f"the request is over {BODY_MAX} bytes")
        call = _Call(service, pairs, count, retry, answer)
        call.due = time.monotonic() + delay
        call.deadline = call.due + timeout
        guard = self.enter()
        try:
            self._renew(call)
        finally:
            guard.release()
        return call

    def _renew(self, call: _Call) -> None:
        self.calls.pop(call.id, None)
        call.id = next(self.ids)
        self.calls[call.id] = call

    def cancel(self, call: _Call) -> None:
        """No more answers of it."""
        if call.mmi and call.state == _SENT:
            call.forgotten, call.retry, call.due = True, False, time.monotonic() + _FORGET
        else:
            self._remove(call)

    def _remove(self, call: _Call) -> None:
        self.calls.pop(call.id, None)
        if call in self.mmi:
            self.mmi.remove(call)

    def step(self) -> None:
        """Handles what has come and what is due; if there was nothing, waits until there is."""
        guard = self.enter()
        try:
            if self.link.open_at == math.inf:
                raise ValueError("this metricmq.Client was closed")
            busy = self._receive(self.link.socket, _MESSAGES)
            busy |= self._handle_loss()
            busy |= self._run_timers()
            busy |= self._send_unsent()
            if not busy:
                due = min((call.due for call in self.calls.values()), default=math.inf)
                self.link.wait(max(0.0, min(due, self.link.due()) - time.monotonic()))
        finally:
            guard.release()

    # answers

    def _receive(self, socket: zmq.Socket | None, most: int) -> bool:
        done = 0
        while done < most and socket is not None and socket.get(zmq.EVENTS) & zmq.POLLIN:
            done += 1
            if not self._take(self._receive_message(socket)):
                self.dropped += 1
        return done > 0

    @staticmethod
    def _receive_message(socket: zmq.Socket) -> list[bytes]:
        """Reads a message to its end; keeps what an answer can have, and shows that there was more."""
        frames, size, more = [], 0, True
        while more:
            frame = socket.recv(zmq.NOBLOCK)
            more = socket.get(zmq.RCVMORE)
            size += len(frame)
            if len(frames) < 8:
                frames.append(frame if size <= MESSAGE_MAX else b"")
        return frames if size <= MESSAGE_MAX else []

    def _take(self, frames: list[bytes]) -> bool:
        """False if the message answers none of our requests."""
        if not 4 <= len(frames) <= 5 or frames[0] != b"MDPC02" or frames[1] not in (b"\2", b"\3"):
            return False
        final, payload = frames[1] == b"\3", frames[4] if len(frames) == 5 else None
        call, header = self._find(frames[2], frames[3])
        if call is None or (final and not 100 <= (header.get("status") or 0) <= 599):
            return False
        if final:
            if header["status"] == 503 and self._try_again(call):
                return True
            self._remove(call)
        if not call.forgotten:
            call.answer(final, header, payload)
        return True

    def _find(self, service: bytes, head: bytes) -> tuple[_Call | None, dict]:
        if service.startswith(b"mmi."):
            header = {"status": int(head)} if len(head) == 3 and head.isdigit() else _parse_header(head)
            calls = (call for call in self.mmi if call.service.encode() == service)
            return (next(calls, None) if header else None), header or {}
        header = _parse_header(head) or {}
        id = header.get("id")
        call = self.calls.get(id) if type(id) is int else None
        return (call if call is not None and call.state == _SENT and not call.mmi else None), header

    # ends

    def _try_again(self, call: _Call) -> bool:
        due = time.monotonic() + _backoff(call.tries - 1, _RETRY, _RETRY_MAX)
        if not call.retry or due >= call.deadline:
            return False
        if call in self.mmi:
            self.mmi.remove(call)
        call.state, call.due = _WAITING, due
        self._renew(call)
        return True

    def _fail(self, call: _Call, status: int, sentence: str) -> None:
        if call.forgotten:
            self._remove(call)
            return
        self.cancel(call)
        call.answer(True, {"status": status, "error": sentence}, None)

    def _handle_loss(self) -> bool:
        if not self.link.check(time.monotonic()):
            return False
        serial, socket = self.link.serial, self.link.leave(time.monotonic())
        self._receive(socket, _LAST_MESSAGES)  # what came before the loss counts
        self.link.close_socket(socket)
        for call in list(self.calls.values()):
            if call.state == _SENT and call.connection == serial and not self._try_again(call):
                if call in self.mmi:
                    self.mmi.remove(call)
                call.state, call.due = _LOST, 0.0
        return True

    def _run_timers(self) -> bool:
        now = time.monotonic()
        due = [call for call in self.calls.values() if call.due <= now]
        for call in due:
            if call.state == _WAITING:
                call.state, call.due = _UNSENT, call.deadline + _GRACE
            elif call.state == _UNSENT:
                self._fail(call, 504, "the request did not get its turn within the timeout" if self.link.connected
                           else "the handshake with the broker failed: do both sides use CURVE, and are the keys right?"
                           if self.link.denied else "the broker could not be reached within the timeout")
            elif call.state == _LOST:
                self._fail(call, 503, "the connection to the broker was lost; it is not known whether the request was "
                                      "carried out")
            else:
                self._fail(call, 504, "no answer within the timeout")
        return bool(due)

    # sending

    def _send_unsent(self) -> bool:
        sent = False
        for call in [call for call in self.calls.values() if call.state == _UNSENT]:
            if not self.link.connected or not self.link.socket.get(zmq.EVENTS) & zmq.POLLOUT:
                break
            try:
                self.link.socket.send_multipart([b"MDPC02", b"\1", call.service.encode(), self._body(call)],
                                                zmq.NOBLOCK)
            except zmq.Again:
                break
            call.tries, call.state, call.connection, sent = call.tries + 1, _SENT, self.link.serial, True
            if call.mmi:
                self.mmi.append(call)
        return sent

    def _body(self, call: _Call) -> bytes:
        if call.mmi:
            return call.pairs
        pack, left = self.packer.pack, max(1, int((call.deadline - time.monotonic()) * 1000))
        head = self.packer.pack_map_header(call.count + 2)
        return b"".join((head, pack("id"), pack(call.id), pack("timeout"), pack(left), call.pairs))


# ---- streams --------------------------------------------------------------------------------------------------


class _Stream:
    """Payloads over pages. `place` is always the cursor behind the last payload that was taken into the queue, so
    a page that breaks is asked for again from there. The limit is the timeout without progress, while the reader
    waits; a try gets half of what is left of it, so that a worker that hangs leaves time for another."""

    def __init__(self, bus: _Bus, args: Mapping[str, Any], limit: float):
        self.bus, self.limit = bus, limit
        self.args = {key: value for key, value in args.items() if key != "cursor"}
        self.place: str | None = args.get("cursor")
        self.queue: collections.deque[tuple[int, bytes, str | None]] = collections.deque()  # page, payload, cursor
        self.page = 0
        self.call: _Call | None = None  # the try under way
        self.seq = 0
        self.failures = 0
        self.try_at = 0.0
        self.progress = time.monotonic()
        self.ended = False
        self.error: MetricmqError | None = None
        self._ask()

    def take(self) -> tuple[bytes, str | None] | None:
        """The next payload and the cursor behind it; None when the stream is whole. Raises if it is broken."""
        self.progress = time.monotonic()  # however long the reader was away
        while not self.queue:
            if self.error is not None:
                raise self.error
            if self.ended:
                return None
            self.bus.step()
        _, payload, cursor = self.queue.popleft()
        self._ask()
        return payload, cursor

    def close(self) -> None:
        self.ended = True
        self.queue.clear()
        if self.call is not None:
            self.bus.cancel(self.call)

    def _ask(self) -> None:
        held = self.page - self.queue[0][0] + 1 if self.queue else 0
        if self.ended or self.call is not None or held >= PAGES_HELD_MAX:
            return
        self.page, self.seq = self.page + 1, 0
        now = time.monotonic()
        start = max(now, self.try_at)
        left = self.progress + self.limit - start
        timeout = max(left / 2, min(left, 1.0), 0.001)
        args = {**self.args, "cursor": self.place}
        try:
            self.call = self.bus.send("metric.query", args, timeout, False, self._take, start - now)
        except TooBig as fault:
            self._end(fault)

    def _end(self, error: MetricmqError | None) -> None:
        self.ended, self.error = True, error

    def _try_later(self, status: int, reason: str) -> None:
        if self.call is not None:
            self.bus.cancel(self.call)
            self.call = None
        self.try_at = time.monotonic() + _backoff(self.failures, _RETRY, _RETRY_MAX)
        self.failures += 1
        if self.try_at - self.progress < self.limit:
            self._ask()
        else:
            self._end(ProtocolError(reason) if status == 0 else _error(status, reason))

    def _take(self, final: bool, header: dict, payload: bytes | None) -> None:
        if not final:
            self._take_partial(header, payload)
            return
        self.call = None
        status = header["status"]
        if status == 200:
            self._end_page(header, payload)
        elif status in (503, 504):
            self._try_later(status, _sentence(header))
        elif status == 304 and self.place is not None:
            self._end(ProtocolError("only a first page can be answered by 304"))
        else:
            self._end(_error(status, _sentence(header) or f"the answer's status is {status}"))

    def _hold(self, payload: bytes | None, cursor: str | None) -> None:
        if payload:
            self.queue.append((self.page, payload, cursor))
        self.place = cursor
        self.failures, self.try_at, self.progress = 0, 0.0, time.monotonic()

    def _take_partial(self, header: dict, payload: bytes | None) -> None:
        cursor = header.get("cursor")
        if header.get("seq") != self.seq:
            self._try_later(0, "a part of a page is missing")
        elif payload is None or not cursor or cursor == self.place:
            self._try_later(0, "a part of a page has no rows or no cursor")
        else:
            self._hold(payload, cursor)
            self.seq += 1

    def _end_page(self, header: dict, payload: bytes | None) -> None:
        next_ = header.get("next", "")
        if header.get("seq") != self.seq:
            self._try_later(0, "a part of a page is missing")
        elif next_ == "" or (next_ is not None and next_ == self.place and self.seq == 0):
            self._try_later(0, "a page does not say where the next one begins")
        else:
            self._hold(payload, next_)
            if next_ is None:
                self._end(None)
            else:
                self._ask()


# ---- the client -----------------------------------------------------------------------------------------------


def _pack_appended(rows: Iterable[Sequence]) -> bytes:
    """Rows of (timestamp, value[, anomaly_score[, raw_score]]) for append."""
    pack, parts = _packer().pack, []
    for row in rows:
        timestamp, value, *scores = row
        if len(scores) > 2:
            raise ValueError(f"{row}: want timestamp, value, anomaly_score, raw_score")
        numbers = [float(value), *(None if score is None else float(score) for score in scores)]
        if not all(map(math.isfinite, filter(None, numbers))):
            raise ValueError(f"{row}: a number is not finite; an absent score is None")
        numbers += [None] * (3 - len(numbers))
        timestamp = epoch(timestamp)
        if not isinstance(timestamp, int):
            raise TypeError(f"{row}: a row's timestamp is an int or a datetime")
        parts.append(pack((timestamp, *numbers)))
    return b"".join(parts)


def _pack_scored(rows: Iterable[Sequence]) -> bytes:
    """Rows of (rowid, anomaly_score, raw_score) for score."""
    pack, parts = _packer().pack, []
    for rowid, anomaly_score, raw_score in rows:
        parts.append(pack((int(rowid), float(anomaly_score), float(raw_score))))
    return b"".join(parts)


class Client:
    """A client of one broker, or of several that stand in for each other.

    `connect`: an endpoint, or up to 8 of them, separated by commas or as a sequence; the first broker that answers
    is used until it is lost. `timeout`: seconds that a request may take; of a stream, seconds without progress
    while its reader waits (0.001 to 300; each call can have its own). `curve`: keys; then CURVE and nothing else.
    `trace`: what requests bear in the logs of the house; by default a random text for each client, "" for none.
    `context`: a zmq.Context; by default pyzmq's own, which all share.

    The constructor connects in the background: that nobody is there shows when the first request times out.
    """

    def __init__(self, connect: str | Sequence[str] = ENDPOINT, *, timeout: float = TIMEOUT, curve: Curve | None = None,
                 trace: str | None = None, context: zmq.Context | None = None):
        self.trace = secrets.token_hex(8) if trace is None else trace
        self.timeout = self._seconds(timeout)
        self._bus = _Bus(_Link(_split_endpoints(connect), curve, context or zmq.Context.instance()))

    def close(self) -> None:
        """Closes the connection; what is under way is forgotten. May be called again."""
        self._bus.link.close()
        self._bus.calls.clear()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    @property
    def dropped(self) -> int:
        """Answers so far that belonged to no request under way: late, twice, foreign or malformed."""
        return self._bus.dropped

    # reading

    def query(self, uid: str | None = None, **arguments: Any) -> Iterator[Row]:
        """A generator of the rows of one metric, or of all (`uid` None), as of the stream's first page.

        Arguments, all optional (docs/protocol.md, metric.query): `from_`, `to` (inclusive), `anomaly` (> 0: rows with
        at least that score; 0 or absent: rows that have a score; < 0: all rows), `limit` (of a metric), `rowid`, `order`
        ("time" or "metric"), `max_bytes` (of a page), `unless`, `cursor`, `timeout` (seconds without progress).
        With `from_` rows ascend in time, else they descend. An unknown uid has no rows.

        Asks when its first row is wanted; follows pages and resumes by itself. Raises a `MetricmqError` if the stream
        cannot be brought to its end mark, and `NotModified` if `unless` is still true.
        """
        return self._flatten(self.batches(uid, **arguments))

    @staticmethod
    def _flatten(batches: Iterator[list[Row]]) -> Iterator[Row]:
        try:
            for batch in batches:
                yield from batch
        finally:
            batches.close()

    def batches(self, uid: str | None = None, *, from_: Time | None = None, to: Time | None = None,
                anomaly: float | None = None, limit: int | None = None, rowid: int | None = None,
                order: str | None = None, max_bytes: int | None = None, unless: str | None = None,
                cursor: str | None = None, timeout: float | None = None) -> Iterator[list[Row]]:
        """As `query`, but lists of rows, each as it came in one frame: for those who work on many at once."""
        args = {"op": "data", "uid": uid, "from": None if from_ is None else epoch(from_),
                "to": None if to is None else epoch(to), "anomaly": None if anomaly is None else float(anomaly),
                "limit": limit, "rowid": rowid, "order": order, "max_bytes": max_bytes, "unless": unless,
                "cursor": cursor}
        return self._rows(args, self._seconds(timeout))

    def _rows(self, args: dict, timeout: float) -> Iterator[list[Row]]:
        begins = args["cursor"] is None
        for payload in self._payloads(args, timeout):
            rows = _decode_rows(payload, begins)
            begins = False
            if rows:
                yield rows
        if begins:
            raise ProtocolError("the stream has not even the names of its columns")

    def _payloads(self, args: dict, timeout: float) -> Iterator[bytes]:
        cursor = args.get("cursor")
        stream = _Stream(self._bus, self._traced(args), timeout)
        try:
            while (item := stream.take()) is not None:
                yield item[0]
                cursor = item[1]
        except MetricmqError as fault:
            fault.cursor, fault.trace = cursor, self.trace
            raise
        finally:
            stream.close()

    def models(self, uids: Iterable[str] | None = None, *, timeout: float | None = None) -> Iterator[Model]:
        """A generator of the records of all metrics, uid ascending; or of those of `uids`, in that order, without
        those that there are not."""
        packed = None if uids is None else b"".join(map(_packer().pack, uids))
        return self._models({"op": "models", "uids": packed}, self._seconds(timeout))

    def _models(self, args: dict, timeout: float) -> Iterator[Model]:
        for payload in self._payloads(args, timeout):
            yield from map(_make_model, _unpack(payload, "a payload of records"))

    def model(self, uid: str, *, timeout: float | None = None) -> Model:
        """One metric's record; `NotFound`."""
        payload = self._ask("metric.query", {"op": "model", "uid": uid}, timeout)[1]
        return _make_model(_one_map(payload, "a record"))

    def export(self, uid: str | None = None, *, timeout: float | None = None) -> Iterator[tuple[Model, Iterator[ExportRow]]]:
        """A generator of metrics, each with a generator of its rows by rowid, for one metric or all that are
        monitored. A metric's rows must be taken before the next metric is; those that were not are passed over."""
        return self._export(self._export_values(uid, self._seconds(timeout)))

    @staticmethod
    def _export(values: Iterator[Model | ExportRow]) -> Iterator[tuple[Model, Iterator[ExportRow]]]:
        ahead: list[Model] = []

        def rows() -> Iterator[ExportRow]:
            for value in values:
                if isinstance(value, Model):
                    ahead.append(value)
                    return
                yield value

        try:
            for value in values:
                ahead.append(value)
                while ahead:
                    own = rows()
                    yield ahead.pop(), own
                    collections.deque(own, maxlen=0)
        finally:
            values.close()

    def _export_values(self, uid: str | None, timeout: float) -> Iterator[Model | ExportRow]:
        begun = False
        for payload in self._payloads({"op": "export", "uid": uid}, timeout):
            values = _unpack(payload, "a payload of an export")
            for is_record, group in itertools.groupby(values, lambda value: type(value) is dict):
                if not is_record and not begun:
                    raise ProtocolError("an export does not begin with a record")
                begun = True
                yield from (map(_make_model, group) if is_record else
                            _make_rows(ExportRow, list(group), (0,), ((1, False), (2, True), (3, True))))

    def stats(self, *, timeout: float | None = None) -> dict[str, Any]:
        """`{"processing_time_remaining": seconds}`."""
        return _one_map(self._ask("metric.query", {"op": "stats"}, timeout)[1], "stats")

    def status(self, *, timeout: float | None = None) -> dict[str, Any]:
        """The broker's own figures: `mmi.stats` of docs/protocol.md."""
        return _one_map(self._mmi("mmi.stats", b"", timeout)[1], "mmi.stats")

    def serves(self, service: str, *, timeout: float | None = None) -> bool:
        """True if a worker of that service is at the broker (`mmi.service`)."""
        return self._mmi("mmi.service", service.encode(), timeout, (200, 404))[0] == 200

    # writing

    def create(self, metric: Mapping[str, Any], *, timeout: float | None = None) -> Model:
        """Makes a metric of a record (`datasource` and `name` needed); answers the record, also of one that is there.
        `Conflict` if the identity has another uid."""
        payload = self._ask("metric.write", {"op": "create", "metric": dict(metric)}, timeout)[1]
        return _make_model(_one_map(payload, "a record"))

    def append(self, uid: str, rows: Iterable[Sequence], *, first_rowid: int | None = None,
               timeout: float | None = None) -> Appended:
        """Appends rows of (timestamp, value[, anomaly_score[, raw_score]]); they are durable when it returns.

        With `first_rowid` rows that are there already are skipped if they are equal (`Conflict` if not), so it is sent
        again after a loss. Without, it is sent once: `Unavailable` then means that it is not known whether the rows
        are there. A request has at most 4 MiB (`TooBig`): some 100,000 rows.
        """
        args = {"op": "append", "uid": uid, "rows": _pack_appended(rows), "first_rowid": first_rowid}
        done = _one_map(self._ask("metric.write", args, timeout, retry=first_rowid is not None)[1], "append's answer")
        values = [done.get(name) for name in Appended._fields]
        if _types(values) != {int}:
            raise ProtocolError("append's answer has no rowids")
        return Appended(*values)

    def score(self, uid: str, rows: Iterable[Sequence], *, timeout: float | None = None) -> None:
        """Sets the scores of rows (rowid, anomaly_score, raw_score). `NotFound`: nothing was changed."""
        self._ask("metric.write", {"op": "score", "uid": uid, "rows": _pack_scored(rows)}, timeout)

    def delete(self, uid: str, *, timeout: float | None = None) -> None:
        """Deletes a metric and all its rows."""
        self._ask("metric.write", {"op": "delete", "uid": uid}, timeout)

    # feedback

    def feedback(self, uid: str, extra: Mapping[str, Any] | None = None, *, created: int | None = None,
                 progress: Callable[[str, int, int], None] | None = None, wait: float = 0.0,
                 timeout: float | None = None) -> Dump:
        """Has one metric dumped into an archive and delivered.

        `extra`: what else the archive's metric.json shall hold. `created`: epoch seconds, now by default; the same uid,
        extra and created are the same dump, however often it is asked for. `progress` is called with (stage, done,
        total), stage being `build` or `upload`. When it returns the dump is accepted; for `wait` seconds more it asks
        again until the archive is delivered (the result's `state` is None).
        """
        args = {"op": "dump", "uid": uid, "extra": dict(extra or {}), "progress": True if progress else None,
                "created": int(time.time()) if created is None else created}
        end, pause = time.monotonic() + wait, 0.2
        while True:
            payload = self._ask("metric.feedback", args, timeout, progress=progress)[1]
            dump = self._dump(_one_map(payload, "a dump's answer"))
            if dump.state is None or time.monotonic() + pause > end:
                return dump
            time.sleep(pause)
            pause = min(pause * 2, 30.0)

    @staticmethod
    def _dump(answer: dict) -> Dump:
        values = [answer.get(name) for name in Dump._fields]
        if type(values[0]) is not str or not all(_is_text(value, MESSAGE_MAX) for value in values):
            raise ProtocolError("a dump's answer holds no key")
        return Dump(*values)

    def spool(self, *, timeout: float | None = None) -> dict[str, Any]:
        """Counts of the dumps that are still to be delivered."""
        return _one_map(self._ask("metric.feedback", {"op": "spool"}, timeout)[1], "the spool's counts")

    # asking

    def _seconds(self, timeout: float | None) -> float:
        seconds = self.timeout if timeout is None else float(timeout)
        if not 0.001 <= seconds <= TIMEOUT_MAX:
            raise ValueError(f"a timeout is 0.001 to {TIMEOUT_MAX:.0f} s, not {timeout}")
        return seconds

    def _traced(self, args: dict) -> dict:
        return {**args, "trace": self.trace or None}

    def _ask(self, service: str, args: dict, timeout: float | None, *, retry: bool = True,
             progress: Callable[[str, int, int], None] | None = None) -> tuple[int, bytes | None]:
        return self._wait(service, self._traced(args), timeout, retry, (200, 202), progress)

    def _mmi(self, service: str, body: bytes, timeout: float | None,
             good: Sequence[int] = (200,)) -> tuple[int, bytes | None]:
        return self._wait(service, body, timeout, True, good, None)

    def _wait(self, service: str, args: dict | bytes, timeout: float | None, retry: bool, good: Sequence[int],
              progress: Callable[[str, int, int], None] | None) -> tuple[int, bytes | None]:
        """Sends and waits for the FINAL: its status and payload. Raises on any status that is not among `good`."""
        news: collections.deque[bytes | None] = collections.deque(maxlen=16)  # only the newest are of interest
        answer: list[tuple[dict, bytes | None]] = []

        def take(final: bool, header: dict, payload: bytes | None) -> None:
            if final:
                answer.append((header, payload))
            else:
                news.append(payload)

        call = self._bus.send(service, args, self._seconds(timeout), retry, take)
        try:
            while not answer or (news and progress):
                while news and progress:
                    _tell(progress, news.popleft())
                if not answer:
                    self._bus.step()
        finally:
            if not answer:
                self._bus.cancel(call)
        header, payload = answer[0]
        if header["status"] not in good:
            sentence = _sentence(header) or f"the answer's status is {header['status']}"
            raise _error(header["status"], sentence, "" if isinstance(args, bytes) else self.trace)
        return header["status"], payload


def _tell(progress: Callable[[str, int, int], None], payload: bytes | None) -> None:
    """What is no news of progress is passed over."""
    try:
        news = _one_map(payload, "news of progress")
    except ProtocolError:
        return
    stage, done, total = (news.get(key) for key in ("stage", "done", "total"))
    if type(stage) is str and type(done) is int and type(total) is int:
        progress(stage, done, total)
