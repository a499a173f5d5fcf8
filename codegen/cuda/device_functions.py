"""Device functions that generated modules define where they use them: Python for `numba.cuda`.

They settle what Python, NumPy and CUDA each see otherwise (`smelt.ir.scalar_reference` is the
judge): NaN in max and min, shifts outside the width, division of integers by zero.
"""

from __future__ import annotations

from collections.abc import Mapping

DEVICE_FUNCTIONS: Mapping[str, str] = {
    "greater": "return a if a > b or a != a else b",
    "lesser": "return a if a < b or a != a else b",
    "sign": "return a - a if a == 0 else (a / abs(a))",
    "sign_of_integer": "return (1 if a > 0 else 0) - (1 if a < 0 else 0)",
    "floor_quotient": "return a // b if b != 0 else a - a",
    "floor_remainder": "return a % b if b != 0 else a - a",
    "quotient": """
        if b == 0:
            return a - a
        q = a // b
        return q + 1 if q * b != a and (a < 0) != (b < 0) else q""",
    "remainder": """
        if b == 0:
            return a - a
        r = a % b
        return r - b if r != 0 and (a < 0) != (b < 0) else r""",
    "modulo": """
        r = math.fmod(a, b)
        if b != 0 and r != 0 and (r < 0) != (b < 0):
            return r + b
        return r if r != 0 else math.copysign(r, b)""",
    "floor_division": """
        r = math.fmod(a, b)
        q = (a - r) / b
        if r != 0 and (r < 0) != (b < 0):
            q -= 1
        return q if b == 0 or not math.isfinite(q) else math.floor(q + 0.5)""",
    "nearest": """
        if not abs(a) < 4503599627370496.0:
            return a
        low = math.floor(a)
        rest = a - low
        up = rest > 0.5 or (rest == 0.5 and low % 2 != 0)
        return math.copysign(low + (1 if up else 0), a)""",
    "whole_power": """
        result = a - a + 1
        while b > 0:
            if b % 2 == 1:
                result = result * a
            a = a * a
            b = b // 2
        return result""",
    "high_product": """
        a0, a1, b0, b1 = a & 0xFFFFFFFF, a >> 32, b & 0xFFFFFFFF, b >> 32
        middle = a1 * b0 + (((a0 * b0) >> 32) & 0xFFFFFFFF)
        carry = (middle & 0xFFFFFFFF) + a0 * b1
        return a1 * b1 + (middle >> 32) + (carry >> 32)""",
    "shift_left": "return a << b if 0 <= b < bits else a - a",
    "shift_right": "return a >> (b if 0 <= b < bits else bits - 1)",
    "truncated": "return int64(a) if low <= a < -low else int64(low)",
}  # fmt: skip

PARAMETERS: Mapping[str, str] = {
    "sign": "a", "sign_of_integer": "a", "nearest": "a", "shift_left": "a, b, bits",
    "shift_right": "a, b, bits", "truncated": "a, low",
}  # fmt: skip


def definition(name: str) -> str:
    """Return the source of a device function."""
    body = DEVICE_FUNCTIONS[name].strip("\n")
    lines = [line.removeprefix("        ") for line in body.splitlines()]
    text = "\n".join(f"    {line.rstrip()}" for line in lines)
    return f"@cuda.jit(device=True)\ndef {name}({PARAMETERS.get(name, 'a, b')}):\n{text}\n"
