"""A small TCP proxy that stands for a bad network: it delays, stalls, dribbles, cuts, resets and swallows.

One thread with an event loop serves all proxies of the process. Directions are named by where bytes
go: UP towards the target, DOWN towards who connected. Bytes keep their order whatever happens to
their timing, as TCP has it: what loss and reordering do to a TCP connection is that it stalls.
"""
import asyncio
import random
import socket
import struct
import threading

UP, DOWN = "up", "down"
CHUNK, CHUNKS_HELD = 65536, 64


class Rules:
    """What happens to bytes of one direction. All times in seconds."""

    def __init__(self):
        self.delay = self.jitter = 0.0  # each chunk arrives delay +- jitter later
        self.stall_chance = self.stall = 0.0  # a chunk and all behind it wait that much longer
        self.bytes_per_s = None  # dribble
        self.swallow = False  # read and thrown away: the peer never knows


class Proxy:
    """Listens on a port of its own for as long as it lives; `endpoint` is where to connect."""

    def __init__(self, target, seed=0):
        self.host, port = target.removeprefix("tcp://").rsplit(":", 1)
        self.port = int(port)
        self.rules = {UP: Rules(), DOWN: Rules()}
        self.random = random.Random(seed)
        self.passed = {UP: 0, DOWN: 0}  # bytes so far
        self.links = set()
        self.trap = None  # [direction, bytes left, called, then reset]
        self.loop = _loop()
        self.server = self._run(asyncio.start_server(self._accept, "127.0.0.1", 0, backlog=1024))
        self.endpoint = "tcp://127.0.0.1:%d" % self.server.sockets[0].getsockname()[1]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _run(self, work):
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(30)

    def both(self, **values):
        """Sets rules of both directions."""
        for rules in self.rules.values():
            for name, value in values.items():
                assert hasattr(rules, name), name
                setattr(rules, name, value)

    def call_after(self, direction, count, called):
        """Calls `called` in the proxy's thread when `count` more bytes have passed that way."""
        self.trap = [direction, count, called, False]

    def cut_after(self, direction, count, called=lambda: None):
        """As call_after, and then resets all connections."""
        self.trap = [direction, count, called, True]

    def cut(self):
        """Resets every connection now."""
        self._run(self._reset_all())

    def close(self):
        self._run(self._close())

    async def _close(self):
        self.server.close()
        await self._reset_all()

    async def _reset_all(self):
        for writer in list(self.links):
            raw = writer.get_extra_info("socket")
            if raw is not None:
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()

    async def _accept(self, reader, writer):
        try:
            far_reader, far_writer = await asyncio.open_connection(self.host, self.port)
        except OSError:
            writer.transport.abort()
            return
        ends = {writer, far_writer}
        self.links |= ends
        pumps = [asyncio.ensure_future(self._pump(UP, reader, far_writer)),
                 asyncio.ensure_future(self._pump(DOWN, far_reader, writer))]
        await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        for pump in pumps:
            pump.cancel()
        self.links -= ends
        for end in ends:
            end.transport.abort()

    async def _pump(self, direction, reader, writer):
        """Until one end is gone. What has its time of arrival waits in a bounded queue."""
        queue = asyncio.Queue(CHUNKS_HELD)
        sender = asyncio.ensure_future(self._send(direction, queue, writer))
        try:
            arrival = 0.0
            while data := await reader.read(CHUNK):
                rules = self.rules[direction]
                if rules.swallow:
                    continue
                arrival = max(arrival, self._arrival(rules))
                await queue.put((arrival, data))
            await queue.put((arrival, b""))
            await sender
        except (ConnectionError, OSError):
            pass
        finally:
            sender.cancel()

    def _arrival(self, rules):
        late = rules.delay + self.random.uniform(-rules.jitter, rules.jitter)
        if self.random.random() < rules.stall_chance:
            late += rules.stall
        return self.loop.time() + late

    async def _send(self, direction, queue, writer):
        while True:
            arrival, data = await queue.get()
            wait = arrival - self.loop.time()
            if wait > 0:
                await asyncio.sleep(wait)
            if not data:
                return
            if not self.rules[direction].swallow:
                await self._write(direction, data, writer)

    async def _write(self, direction, data, writer):
        if self.trap and self.trap[0] == direction:
            self.trap[1] -= len(data)
            if self.trap[1] <= 0:
                data = await self._spring(data, writer)
        self.passed[direction] += len(data)
        rate = self.rules[direction].bytes_per_s
        for piece in [data] if rate is None else [data[n:n + 1] for n in range(len(data))]:
            writer.write(piece)
            await writer.drain()
            if rate is not None:
                await asyncio.sleep(1 / rate)


    async def _spring(self, data, writer):
        """The trap's byte is among these: what is left of them to write."""
        (_, over, called, reset), self.trap = self.trap, None
        keep = len(data) + over
        writer.write(data[:keep])
        called()
        if reset:
            await self._reset_all()
        return b"" if reset else data[keep:]


_started = None


def _loop():
    global _started
    if _started is None:
        _started = asyncio.new_event_loop()
        threading.Thread(target=_started.run_forever, name="proxies", daemon=True).start()
    return _started
