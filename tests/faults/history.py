"""What was asked and what was answered, and whether that is what must be.

A history belongs to one peer of the bus (one routing id) and knows the ids that it has used. Every
answer is checked as it comes: it bears an id of ours that has had no FINAL yet, its PARTIALs are
counted without a gap. At the end every request has had its FINAL or was given up by its client. A
stream is checked against the bytes that the store's contents make it: each payload must be the next
ones, so that no row can be lost, doubled or mixed up unseen.
"""
import threading


class Broken(AssertionError):
    """A promise was not kept."""


class Request:
    __slots__ = ("id", "partials", "status", "given_up")

    def __init__(self, id):
        self.id, self.partials, self.status, self.given_up = id, 0, None, False


class History:
    def __init__(self, name):
        self.name = name
        self.requests = {}
        self.lock = threading.Lock()  # the checker may be another thread than the client
        self.late = 0  # answers to requests that their client had given up

    def asked(self, id):
        with self.lock:
            if id in self.requests:
                raise Broken(f"{self.name}: id {id} was used twice")
            self.requests[id] = Request(id)

    def answered(self, id, final, header):
        """False if the answer is late: its request was given up."""
        with self.lock:
            request = self.requests.get(id)
            if request is None:
                raise Broken(f"{self.name}: an answer to {id!r}, which was never asked: {header}")
            if request.status is not None:
                raise Broken(f"{self.name}: an answer to {id} after its FINAL: {header}")
            if header.get("seq") is not None and header["seq"] != request.partials and not (
                    final and header["status"] >= 400):
                raise Broken(f"{self.name}: request {id}, PARTIAL {request.partials} came as {header}")
            if final:
                request.status = header["status"]
            else:
                request.partials += 1
            self.late += request.given_up
            return not request.given_up

    def given_up(self, id):
        with self.lock:
            self.requests[id].given_up = True

    def counts(self):
        """{status: requests} of those that ended."""
        counts = {}
        for request in self.requests.values():
            if request.status is not None:
                counts[request.status] = counts.get(request.status, 0) + 1
        return counts

    def check(self):
        """Every request ended, exactly once, or was given up."""
        open_ones = [request.id for request in self.requests.values()
                     if request.status is None and not request.given_up]
        if open_ones:
            raise Broken(f"{self.name}: {len(open_ones)} requests never ended: {open_ones[:10]}")


class Stream:
    """One stream of known bytes, as far as it was read."""

    def __init__(self, name, wanted):
        self.name, self.wanted, self.offset = name, wanted, 0

    def add(self, payload):
        if self.wanted[self.offset:self.offset + len(payload)] != payload:
            raise Broken(f"{self.name}: the {len(payload)} bytes at {self.offset} are not the next rows")
        self.offset += len(payload)

    def end(self):
        if self.offset != len(self.wanted):
            raise Broken(f"{self.name}: it ended after {self.offset} of {len(self.wanted)} bytes")
