"""Digit for digit: mmq_number_print against Python's repr, which is the form that readers of the
JSON and CSV answers were promised; and the table of powers of ten against the script that makes it.
"""
import math
import os
import random
import struct
import subprocess
import sys
import unittest

from harness import SLOW, SOURCE, seed

LINES = os.environ.get("METRICMQ_NUMBER_LINES", "number_lines")
COUNT = 100_000 if SLOW else 1_000_000


def wanted(value):
    text = repr(value)
    return text[:-2] if text.endswith(".0") and text != "-0.0" else text


def neighbours(value):
    return [math.nextafter(value, -math.inf), value, math.nextafter(value, math.inf)]


def hard_cases():
    values = [0.0, -0.0, sys.float_info.max, sys.float_info.min, 5e-324, 1e-323, 2.5e-323]
    for exponent in range(-1074, 1024):
        values += neighbours(math.ldexp(1.0, exponent))
    for exponent in range(-324, 309):
        for digit in range(1, 10):
            values += neighbours(float(f"{digit}e{exponent}"))
    for near in (2**53, 2**54, 2**63, 10**15, 10**16, 10**17, 10**22, 10**23):
        for step in range(-50, 51):
            values.append(float(near + step))
    values += [i * step for step in (0.1, 0.01, 0.001, 1 / 3, 1e-5) for i in range(2000)]
    return [v for v in values if math.isfinite(v)]


class NumberRepr(unittest.TestCase):
    def compare(self, values):
        done = subprocess.run([LINES], input=struct.pack(f"={len(values)}d", *values),
                              capture_output=True, check=True)
        lines = done.stdout.decode("ascii").splitlines()
        self.assertEqual(len(lines), len(values))
        for value, line in zip(values, lines):
            if line != wanted(value):
                self.fail(f"{value.hex()}: printed {line}, wanted {wanted(value)}")

    def test_hard_cases(self):
        values = hard_cases()
        self.compare(values + [-v for v in values])

    def test_random_patterns(self):
        rng = seed()
        for _ in range(COUNT // 100_000):
            patterns = struct.unpack("=100000d", rng.randbytes(800_000))
            self.compare([v for v in patterns if math.isfinite(v)])

    def test_random_metrics(self):
        """Values as people have them: a few decimals."""
        rng = seed()
        self.compare([round(rng.uniform(-1000, 1000), rng.randrange(8)) for _ in range(100_000)])

    def test_table_is_what_the_script_makes(self):
        made = subprocess.run([sys.executable, SOURCE / "lib" / "pow10.py"], capture_output=True,
                              check=True).stdout
        self.assertEqual(made, (SOURCE / "lib" / "pow10.inc").read_bytes())


if __name__ == "__main__":
    unittest.main()
