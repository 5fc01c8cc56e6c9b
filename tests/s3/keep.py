"""The process that keeps an object store for a test: `keep.py KIND OPTIONS`, options as JSON.

It starts the store's daemons in a temporary folder, prints one line of JSON when they answer, and
waits for the end of its stdin, which comes however the test ends: by a stop, a crash or kill -9. Then
it kills the daemons and removes the folder. The daemons in turn are killed by the kernel when the
keeper dies. Everything is on loopback, at ports that were free; if one is taken before a daemon has
it, all is tried again.
"""
import importlib
import json
import signal
import subprocess
import sys

from keeper import Died, Keeper, Stopped

ATTEMPTS = 4


def start_engine(module, options):
    """(keeper, what to tell the test)."""
    for attempt in range(ATTEMPTS):
        keeper = Keeper()
        try:
            return keeper, module.start(keeper, options)
        except BaseException as error:
            keeper.close()
            if not isinstance(error, Died) or attempt + 1 == ATTEMPTS:
                raise
            print(f"once more: {error}", file=sys.stderr, flush=True)


def end(*_):
    raise Stopped


def main():
    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    kind, options = sys.argv[1], json.loads(sys.argv[2])
    keeper = None
    try:
        keeper, told = start_engine(importlib.import_module(kind), options)
        print(json.dumps({**told, "folder": str(keeper.folder)}), flush=True)
        while True:
            keeper.check(0.25 if keeper.again else 1.0)
    except Stopped:
        pass
    except (Died, subprocess.TimeoutExpired) as error:
        print(error, file=sys.stderr, flush=True)
        sys.exit(1)
    finally:
        if keeper:
            keeper.close()


if __name__ == "__main__":
    main()
