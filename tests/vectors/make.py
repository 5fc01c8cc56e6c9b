"""Writes requests.json and streams.json: frames that clients send and get, and what must come of them.

The C client (unit/lib/test_vectors.c) and the Python client (interop/test_vectors.py) replay both files.

requests.json, a list: `service`, `args` (key, type, value) as they are given to the C library, `python`: the method of
the Python client and its arguments, `body`: what must stand behind `id` and `timeout` in the request's body, in hex,
and `count`, how many pairs that are.

streams.json, a list: `answers`: the nth request must ask for the cursor `asks` and is answered by `messages` (frames in
hex; {id} stands for the request's packed id, {old} for that of the request before); the last answer is given again and
again. `end` is what the reader must get to:

  "whole"     the end mark; `rows` are exactly the rows, [uid, timestamp, value, score or null, rowid], floats as the
              hex digits of their bits; `requests` is how many there were, `dropped` how many messages went unused
  "broken"    after tries in vain, within `limit_ms` or little more: no end mark came
  "protocol"  what came is no stream
  a number    the status that the broker or worker answered

Of a stream that is not whole the reader may have got some of `maybe` behind `rows`, in order, but nothing else.
"""
import json
import pathlib
import struct

HERE = pathlib.Path(__file__).resolve().parent
UID = "b2f2251fd378c14c2b1931d64d26a979"
NAMES = ["names", "uid", "timestamp", "value", "anomaly_score", "rowid"]
ID = "\0ID\0"  # what pack() writes as {id}
OLD = "\0OLD\0"
FLAWED_LIMIT_MS = 2000
GOOD_LIMIT_MS = 60_000

# ---- msgpack by hand, so that every form can be written ----------------------------------------------------------


class Raw(bytes):
    """Packed already."""


def text(value, form=None):
    data = value.encode()
    if form == "str8":
        return b"\xd9" + bytes([len(data)]) + data
    if form == "str32":
        return b"\xdb" + struct.pack(">I", len(data)) + data
    return bytes([0xa0 | len(data)]) + data if len(data) < 32 else b"\xda" + struct.pack(">H", len(data)) + data


def integer(value):
    if 0 <= value < 128:
        return bytes([value])
    if -32 <= value < 0:
        return struct.pack(">b", value)
    for head, form, low, high in ((0xcc, ">B", 0, 1 << 8), (0xcd, ">H", 0, 1 << 16), (0xce, ">I", 0, 1 << 32),
                                  (0xcf, ">Q", 0, 1 << 64), (0xd0, ">b", -1 << 7, 0), (0xd1, ">h", -1 << 15, 0),
                                  (0xd2, ">i", -1 << 31, 0), (0xd3, ">q", -1 << 63, 0)):
        if low <= value < high:
            return bytes([head]) + struct.pack(form, value)
    raise ValueError(value)


def pack(value):
    if isinstance(value, Raw):
        return value
    if value is None or isinstance(value, bool):
        return {None: b"\xc0", False: b"\xc2", True: b"\xc3"}[value]
    if isinstance(value, int):
        return integer(value)
    if isinstance(value, float):
        return b"\xcb" + struct.pack(">d", value)
    if isinstance(value, str):
        return value.encode() if value in (ID, OLD) else text(value)
    if isinstance(value, bytes):
        return b"\xc4" + bytes([len(value)]) + value
    if isinstance(value, dict):
        head = bytes([0x80 | len(value)]) if len(value) < 16 else b"\xde" + struct.pack(">H", len(value))
        return head + b"".join(pack(key) + pack(item) for key, item in value.items())
    head = bytes([0x90 | len(value)]) if len(value) < 16 else b"\xdc" + struct.pack(">H", len(value))
    return head + b"".join(map(pack, value))


def bits(number):
    return None if number is None else struct.pack(">d", number).hex()


# ---- messages --------------------------------------------------------------------------------------------------


def row(number, uid=UID):
    """A row, and that it differs from all others."""
    return [uid, 1376602440 + 60 * number, number + 0.1, None if number % 3 == 0 else number / 7, number]


def rows(first, last):
    return b"".join(pack(row(number)) for number in range(first, last + 1))


def shown(first, last):
    return [[uid, timestamp, bits(value), bits(score), rowid]
            for uid, timestamp, value, score, rowid in map(row, range(first, last + 1))]


def message(command, header, payload=None, magic=b"MDPC02"):
    frames = [magic, bytes([command]), b"metric.query", header if isinstance(header, Raw) else pack(header)]
    return frames + ([payload] if payload is not None else [])


def partial(seq, cursor, payload, **more):
    return message(2, {"id": ID, "seq": seq, "cursor": cursor, **more}, payload)


def final_header(status=200, seq=0, next_=None, error=None, **more):
    return {"id": ID, "status": status, "rows": 1, "seq": seq, "next": next_, "error": error, "state": "s-1", **more}


def final(payload=None, **fields):
    return message(3, final_header(**fields), payload)


NAMED = pack(NAMES)
streams = []


def stream(name, *answers, end="whole", good=(0, -1), maybe=(0, -1), dropped=None, extra=None):
    """answers: (asks, message...) each; good, maybe: the rows first to last."""
    case = {"name": name, "limit_ms": GOOD_LIMIT_MS if end != "broken" else FLAWED_LIMIT_MS, "answers": [
        {"asks": asks, "messages": [[frame.hex().replace(ID.encode().hex(), "{id}").replace(OLD.encode().hex(), "{old}")
                                     for frame in frames] for frames in messages]}
        for asks, *messages in answers], "end": end, "rows": shown(*good) if extra is None else extra}
    if end == "whole":
        case |= {"requests": len(answers), "dropped": dropped or 0}
    else:
        case["maybe"] = shown(*maybe)
    streams.append(case)


def good_streams():
    stream("one FINAL", (None, final(NAMED + rows(1, 3))), good=(1, 3))
    stream("names alone: an unknown uid", (None, final(NAMED)), good=(1, 0))
    stream("PARTIALs, then pages", (None, partial(0, "c1", NAMED), partial(1, "c2", rows(1, 2)), final(seq=2, next_="c2")),
           ("c2", final(rows(3, 4), next_="c3")), ("c3", partial(0, "c4", rows(5, 5)), final(rows(6, 6), seq=1)), good=(1, 6))
    stream("pages without rows, without a payload, with an empty one",
           (None, final(NAMED, next_="c1")), ("c1", final(next_="c2")), ("c2", final(b"", next_="c3")),
           ("c3", final(rows(1, 1))), good=(1, 1))
    stream("a cursor of 4096 bytes", (None, final(NAMED + rows(1, 1), next_="c" * 4096)),
           ("c" * 4096, final(rows(2, 2))), good=(1, 2))
    odd = {"later": [1, {"a": None}], "seq": Raw(b"\xcf" + bytes(8)), "state": None, "rows": None, "error": None,
           "next": None, "status": Raw(b"\xd1\x00\xc8"), "id": ID}
    stream("a header in other forms, with keys that are new", (None, message(3, odd, NAMED + rows(1, 1))), good=(1, 1))
    twice = Raw(b"\x83" + pack("id") + pack(ID) + pack("seq") + pack(7) + pack("seq") + pack(0))
    stream("a key twice: the last counts", (None, message(3, Raw(b"\x88" + twice[1:] + b"".join(
        pack(key) + pack(value) for key, value in final_header().items() if key not in ("id", "seq"))),
        NAMED + rows(1, 1))), good=(1, 1))
    forms = [(b"\xdc\x00\x05" + text("u", "str8") + b"\xd3" + struct.pack(">q", -5) + b"\xca" + struct.pack(">f", 0.5)
              + b"\xc0" + b"\xcf" + struct.pack(">Q", 9), ["u", -5, bits(0.5), None, 9]),
             (b"\xdd\x00\x00\x00\x05" + text("u", "str32") + integer(0) + integer(-3) + integer(1) + b"\xd3"
              + struct.pack(">q", 2 ** 63 - 1), ["u", 0, bits(-3.0), bits(1.0), 2 ** 63 - 1]),
             (pack(["a" * 100, 2 ** 40, Raw(integer(2 ** 64 - 1)), 0.0, 1]), ["a" * 100, 2 ** 40, bits(2.0 ** 64),
                                                                            bits(0.0), 1])]
    for number in (-0.0, 5e-324, 1.7976931348623157e308, 0.1, -2.2250738585072014e-308):
        forms.append((pack(["u", 1, number, number, 1]), ["u", 1, bits(number), bits(number), 1]))
    names = b"\xdc\x00\x06" + b"".join(text(name, "str8") for name in NAMES)
    stream("rows and names in other forms", (None, final(names + b"".join(packed for packed, _ in forms))),
           extra=[shown_ for _, shown_ in forms])


def resumed_streams():
    begun = partial(0, "c1", NAMED + rows(1, 2))
    rest = ("c1", final(rows(3, 4)))
    for name, *broken in (
            ("a worker died: 503 after a PARTIAL", final(status=503, seq=1, error="gone")),
            ("504 after a PARTIAL", final(status=504, seq=1)),
            ("a PARTIAL comes twice", begun, final(seq=2)),
            ("a PARTIAL is missing", partial(2, "c3", rows(5, 5)), final(seq=3)),
            ("a PARTIAL before its time", partial(7, "c3", rows(5, 5))),
            ("a PARTIAL without seq", partial(None, "c2", rows(3, 3))),
            ("FINAL counts more PARTIALs than came", final(rows(9, 9), seq=2)),
            ("FINAL counts fewer PARTIALs than came", final(rows(9, 9), seq=0)),
            ("FINAL without seq", final(rows(9, 9), seq=None)),
            ("a PARTIAL without a payload", partial(1, "c2", None)),
            ("a PARTIAL without a cursor", partial(1, None, rows(3, 3))),
            ("a PARTIAL with an empty cursor", partial(1, "", rows(3, 3))),
            ("a PARTIAL that stands still", partial(1, "c1", rows(3, 3))),
            ("an empty next", final(rows(9, 9), seq=1, next_="")),
            ("FINAL without next has no end mark", message(3, {key: value for key, value in final_header(seq=1).items()
                                                              if key != "next"}, rows(9, 9)))):
        stream(f"{name}: taken up again", (None, begun, *broken), rest, good=(1, 4), dropped=len(broken) - 1)
    stream("a page that is where it was", (None, final(NAMED + rows(1, 1), next_="c1")),
           ("c1", final(rows(1, 1), next_="c1")), ("c1", final(rows(2, 2))), good=(1, 2))
    stream("the first page fails", (None, final(status=503)), (None, final(NAMED + rows(1, 1))), good=(1, 1))
    late = message(2, {"id": OLD, "seq": 1, "cursor": "c9"}, rows(9, 9))
    stream("answers to an earlier try come late", (None, begun, final(status=503, seq=1)),
           ("c1", late, message(3, {**final_header(), "id": OLD}, rows(8, 8)), final(rows(3, 4))), good=(1, 4), dropped=2)


def foreign_messages():
    header = final_header()
    wrong = [[b"MDPC02", b"\x03", b"metric.query"], [b"MDPC02"], [b""], [b"MDPC02", b"", b"", b""],
             message(3, header, NAMED + rows(9, 9), magic=b"MDPC01"), message(3, header, NAMED, magic=b"MDPW02"),
             message(1, header, NAMED), message(4, header, NAMED), message(3, header, NAMED) + [b"more"],
             [b"MDPC02", b"\x03\x03", b"metric.query", pack(header)]]
    for id in ("7", None, -1, 2 ** 63, 1.0, True, [1], b"1", 12345678):
        wrong.append(message(3, {**header, "id": id}, NAMED + rows(9, 9)))
    for key, value in (("status", "200"), ("status", 99), ("status", 600), ("status", None), ("status", -1), ("seq", "0"),
                       ("seq", -1), ("seq", 2 ** 64 - 1), ("seq", 0.0), ("seq", True), ("rows", "1"), ("next", 5),
                       ("next", b"c1"), ("next", "c" * 4097), ("error", 5), ("state", [])):
        wrong.append(message(3, {**header, key: value}, NAMED + rows(9, 9)))
    packed = pack(header)
    wrong += [message(3, Raw(flawed), NAMED) for flawed in (
        b"", b"\xc0", pack([ID, 200]), packed[:-1], packed + b"\xc0", b"\x88" + packed[1:], b"\xdf\xff\xff\xff\xff",
        b"\xdd\xff\xff\xff\xff", b"\xc1", b"\x81\x01\x02", pack({**header, 5: 6}), pack({**header, b"x": 6}),
        pack({**header, "new": Raw(b"\xdb\xff\xff\xff\xff")}), pack({**header, "new": Raw(b"\xdd\x7f\xff\xff\xff")}),
        b"\x91" * 1000, b"\x81\xa1a" * 1000)]
    stream("what is no answer of ours is dropped", (None, *wrong, final(NAMED + rows(1, 1))), good=(1, 1),
           dropped=len(wrong))


def refused_streams():
    for status in (400, 401, 403, 404, 409, 410, 413, 418, 429, 500, 501, 599):
        stream(f"refused with {status}", (None, final(status=status, error="no")), end=status)
    stream("not modified", (None, final(status=304)), end=304)
    stream("an error in the middle", (None, partial(0, "c1", NAMED + rows(1, 1)), final(status=404, seq=1, error="gone")),
           end=404, good=(1, 1))
    stream("an error on a later page", (None, final(NAMED + rows(1, 1), next_="c1")), ("c1", final(status=410, error="old")),
           end=410, good=(1, 1))
    stream("an error without a sentence", (None, final(status=400)), end=400)
    stream("an error whose sentence is no UTF-8", (None, final(status=400, error=Raw(b"\xa2\xff\xfe"))), end=400)
    stream("a status that is no end", (None, final(status=302)), end="protocol")
    stream("not modified, in the middle", (None, final(NAMED + rows(1, 1), next_="c1")), ("c1", final(status=304)),
           end="protocol", good=(1, 1))


def broken_streams():
    begun = (None, partial(0, "c1", NAMED + rows(1, 2)), final(status=503, seq=1))
    for name, *messages in (("503 for ever", final(status=503, error="not now")), ("504 for ever", final(status=504)),
                            ("it stands still for ever", final(next_="c1")), ("never an answer",),
                            ("never an end mark", message(3, {"id": ID, "status": 200, "seq": 0})),
                            ("never whole", final(rows(9, 9), seq=3))):
        stream(name, begun, ("c1", *messages), end="broken", good=(1, 2))


def flawed_payloads():
    nan, infinity = struct.pack(">d", float("nan")), struct.pack(">d", float("inf"))
    number = lambda data: Raw(b"\xcb" + data)
    for name, payload in (
            ("rows before the names", rows(1, 1) + NAMED), ("no names at all", rows(1, 1)), ("nothing at all", None),
            ("other names", pack([*NAMES[:-1], "row"])), ("names that are cut off", NAMED[:-1]),
            ("a map instead of the names", pack({"names": 1})), ("random bytes", bytes(range(0xc1, 0x100)))):
        stream(f"{name}: no stream of rows", (None, final(payload)), end="protocol")
    good = row(2)
    for name, packed in (
            ("four values", pack(good[:4])), ("six values", pack([*good, 1])), ("no values", b"\x90"), ("the names again", NAMED),
            ("an empty uid", pack(["", *good[1:]])), ("a uid of 101 bytes", pack(["u" * 101, *good[1:]])),
            ("a uid that is a number", pack([5, *good[1:]])), ("a uid that is nil", pack([None, *good[1:]])),
            ("a uid that is bin", pack([b"u", *good[1:]])),
            ("a timestamp that is a float", pack([UID, 1.0, *good[2:]])), ("a timestamp that is nil", pack([UID, None, *good[2:]])),
            ("a timestamp that is true", pack([UID, True, *good[2:]])), ("a timestamp of 2^63", pack([UID, 2 ** 63, *good[2:]])),
            ("a timestamp that is text", pack([UID, "1970-01-01 00:00:00", *good[2:]])),
            ("a value that is NaN", pack([UID, 1, number(nan), None, 1])), ("a value that is infinite", pack([UID, 1, number(infinity), None, 1])),
            ("a value that is nil", pack([UID, 1, None, None, 1])), ("a value that is text", pack([UID, 1, "1", None, 1])),
            ("a value that is false", pack([UID, 1, False, None, 1])),
            ("a score that is NaN", pack([UID, 1, 1.0, number(nan), 1])), ("a score that is text", pack([UID, 1, 1.0, "", 1])),
            ("a rowid that is nil", pack([UID, 1, 1.0, None, None])), ("a rowid of 2^63", pack([UID, 1, 1.0, None, 2 ** 63])),
            ("a rowid that is a float", pack([UID, 1, 1.0, None, 1.0])),
            ("nil", b"\xc0"), ("a number", b"\x05"), ("a map", b"\x80"), ("what is reserved", b"\xc1"),
            ("an extension", b"\xd4\x05\x00"), ("an empty extension", b"\xc7\x00\x05"), ("bin", b"\xc4\x00"),
            ("an array of 2^32 - 1 values", b"\xdd\xff\xff\xff\xff"), ("a text of 2^32 - 1 bytes", b"\x95\xdb\xff\xff\xff\xff"),
            ("a map of 2^32 - 1 pairs", b"\x95\xdf\xff\xff\xff\xff"), ("arrays in arrays", b"\x95" * 1000),
            ("arrays of one in arrays", b"\x91" * 2000), ("maps in maps", b"\x81" * 1000)):
        stream(f"{name}: no row", (None, partial(0, "c1", NAMED + rows(1, 1)), final(packed + rows(3, 3), seq=1)),
               end="protocol", good=(1, 1))
    for cut in (1, 2, 10, 20, len(pack(good)) - 1):
        stream(f"a row that {cut} bytes are missing of", (None, final(NAMED + rows(1, 1) + pack(good)[:-cut])),
               end="protocol", maybe=(1, 1))


def make_streams():
    streams.clear()
    for make in (good_streams, resumed_streams, foreign_messages, refused_streams, broken_streams, flawed_payloads):
        make()
    return streams


# ---- requests --------------------------------------------------------------------------------------------------


def request(service, method, python, *args):
    """args: (key, type, value); those of type bytes and packed are hex."""
    forms = {"packed": bytes.fromhex, "bytes": lambda value: raw(bytes.fromhex(value)),
             "double": lambda value: pack(float(value)), "int": pack, "text": pack}
    body = b"".join(text(key) + forms[kind](value) for key, kind, value in args)
    return {"service": service, "python": [method, python], "args": [list(arg) for arg in args], "count": len(args),
            "body": body.hex()}


def raw(data):
    if len(data) < 32:
        return bytes([0xa0 | len(data)]) + data
    return (b"\xda" + struct.pack(">H", len(data)) if len(data) < 65536 else b"\xdb" + struct.pack(">I", len(data))) + data


def make_requests():
    data = ("op", "text", "data")
    appended = b"".join(pack([1376602440 + n, n + 0.5, None if n % 2 else n / 8, None]) for n in range(3))
    scored = b"".join(pack([n, n / 8, -0.0]) for n in (1, 200, 70000))
    return [
        request("metric.query", "query", {}, data),
        request("metric.query", "query", {"uid": UID}, data, ("uid", "text", UID)),
        request("metric.query", "query", {"uid": "u", "from_": 1376602440, "to": "2013-08-15 21:34:00", "anomaly": -1,
                                          "limit": 10, "rowid": 3, "order": "metric", "max_bytes": 1 << 20, "unless": "s-1"},
                data, ("uid", "text", "u"), ("from", "int", 1376602440), ("to", "text", "2013-08-15 21:34:00"),
                ("anomaly", "double", -1), ("limit", "int", 10), ("rowid", "int", 3), ("order", "text", "metric"),
                ("max_bytes", "int", 1 << 20), ("unless", "text", "s-1")),
        request("metric.query", "query", {"from_": -1, "to": 0, "anomaly": 0.1, "cursor": "c" * 300}, data,
                ("from", "int", -1), ("to", "int", 0), ("anomaly", "double", 0.1), ("cursor", "text", "c" * 300)),
        request("metric.query", "models", {}, ("op", "text", "models")),
        request("metric.query", "models", {"uids": ["u", UID]}, ("op", "text", "models"),
                ("uids", "bytes", (text("u") + text(UID)).hex())),
        request("metric.query", "model", {"uid": UID}, ("op", "text", "model"), ("uid", "text", UID)),
        request("metric.query", "stats", {}, ("op", "text", "stats")),
        request("metric.query", "export", {"uid": "u"}, ("op", "text", "export"), ("uid", "text", "u")),
        request("metric.write", "create", {"metric": {"datasource": "custom", "name": "n" * 40}}, ("op", "text", "create"),
                ("metric", "packed", pack({"datasource": "custom", "name": "n" * 40}).hex())),
        request("metric.write", "append", {"uid": "u", "first_rowid": 1, "rows": [
            [1376602440, 0.5, 0.0], [1376602441, 1.5], [1376602442, 2.5, 0.25, None]]},
                ("op", "text", "append"), ("uid", "text", "u"), ("rows", "bytes", appended.hex()), ("first_rowid", "int", 1)),
        request("metric.write", "score", {"uid": "u", "rows": [[1, 0.125, -0.0], [200, 25.0, -0.0], [70000, 8750.0, -0.0]]},
                ("op", "text", "score"), ("uid", "text", "u"), ("rows", "bytes", scored.hex())),
        request("metric.write", "delete", {"uid": "u"}, ("op", "text", "delete"), ("uid", "text", "u")),
        request("metric.feedback", "feedback", {"uid": "u", "extra": {"why": "a test"}, "created": 1700000000},
                ("op", "text", "dump"), ("uid", "text", "u"), ("extra", "packed", pack({"why": "a test"}).hex()),
                ("created", "int", 1700000000)),
        request("metric.feedback", "spool", {}, ("op", "text", "spool")),
    ]


def files():
    """{path: text}"""
    return {HERE / name: "[\n" + ",\n".join(json.dumps(case) for case in cases) + "\n]\n"
            for name, cases in (("requests.json", make_requests()), ("streams.json", make_streams()))}


if __name__ == "__main__":
    for path, content in files().items():
        path.write_text(content)
        print(path.name, content.count("\n") - 2)
