#!/usr/bin/env python3
"""Writes pow10.inc: for k = -292 .. 324 the 128 leading bits of 10**k, rounded up, as {high, low}.

    python3 lib/pow10.py > lib/pow10.inc
"""
FIRST, LAST = -292, 324


def leading_bits(k):
    """The integer g with 2**127 <= g < 2**128 and g = ceil(10**k / 2**r) for some r."""
    numerator, denominator = (10**k, 1) if k >= 0 else (1, 10**-k)
    r = numerator.bit_length() - denominator.bit_length() - 128
    while True:
        up, down = (denominator << r, numerator) if r >= 0 else (denominator, numerator << -r)
        g = -(-down // up)
        if g < 1 << 128:
            assert g >= 1 << 127
            return g
        r += 1


def main():
    entries = [leading_bits(k) for k in range(FIRST, LAST + 1)]
    texts = [f"{{0x{g >> 64:016x}, 0x{g & (1 << 64) - 1:016x}}}," for g in entries]
    print(f"/* made by pow10.py: 10^{FIRST} to 10^{LAST} */")
    for i in range(0, len(texts), 2):
        print(" ".join(texts[i:i + 2]))


main()
