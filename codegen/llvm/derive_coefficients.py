"""Derive the polynomial coefficients of vector maths; writes `vector_math_coefficients.py`.

    python -m smelt.codegen.llvm.derive_coefficients      # needs mpmath, which smelt does not

Each polynomial interpolates a smooth function at the Chebyshev nodes of its interval, computed with
90 digits, and its coefficients are then rounded. That is within a factor of two or so of the best
uniform approximation (L. N. Trefethen, "Approximation Theory and Approximation Practice", ch. 16),
and degrees are chosen so that what is left is far below the rounding of the evaluation. Functions
are divided by their leading behaviour, so that a small absolute error is a small relative one.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mpmath as mp  # type: ignore[import-not-found]

Function = Callable[[Any], Any]

DIGITS = 90
TINY = 1e-20
"""Arguments below this count as 0, where quotients of cancelling terms take their limits."""


@dataclass(frozen=True)
class Fit:
    """A polynomial that is wanted.

    Attributes:
        name: constant in the module that is written.
        meaning: what it approximates, over which interval.
        function: the function, on mpmath numbers.
        low: left end of the interval, for single and for double precision.
        high: right end, likewise.
        degrees: degree for single and for double precision; None where it is not needed.
    """

    name: str
    meaning: str
    function: Function
    low: tuple[Any, Any]
    high: tuple[Any, Any]
    degrees: tuple[int | None, int | None]


def _root(function: Function, limit: Any) -> Function:
    """Return z -> function(sqrt(z)), with `limit` at 0."""
    return lambda z: limit if z < TINY**2 else function(mp.sqrt(z))


ERFC_SCALES = (2.25, 3.75)
"""k of the argument t = (a - k) / (a + k), for single and double precision."""


def _erfc(scale: float) -> Function:
    def scaled(t: Any) -> Any:
        a = scale * (1 + t) / (1 - t)
        return (1 + 2 * a) * mp.exp(a * a) * mp.erfc(a)

    return scaled


def _fits() -> list[Fit]:
    half_ln2 = mp.log(2) / 2 * mp.mpf("1.01")
    quarter_pi = (mp.pi / 4) ** 2 * mp.mpf("1.01")
    eighth = mp.mpf("0.1716")
    series = mp.mpf("0.02945")
    low, high = mp.sqrt(0.5) - 1, mp.sqrt(2) - 1
    third = mp.mpf(2) / 3
    fits = [
        Fit("EXP", "(exp(r) - 1 - r) / r**2, |r| <= ln(2) / 2",
            lambda r: mp.mpf(0.5) if abs(r) < TINY else (mp.expm1(r) - r) / r**2,
            (-half_ln2,) * 2, (half_ln2,) * 2, (5, 10)),
        Fit("EXP2", "(2**r - 1) / r, |r| <= 0.5",
            lambda r: mp.log(2) if abs(r) < TINY else mp.expm1(r * mp.log(2)) / r,
            (mp.mpf(-0.5),) * 2, (mp.mpf(0.5),) * 2, (6, 12)),
        Fit("TANH", "(tanh(x) - x) / x**3 in x**2, x <= 0.625",
            _root(lambda x: (mp.tanh(x) - x) / x**3, -mp.mpf(1) / 3),
            (mp.mpf(0),) * 2, (mp.mpf("0.3907"),) * 2, (5, 12)),
        Fit("SINH", "(sinh(x) - x) / x**3 in x**2, x <= 1",
            _root(lambda x: (mp.sinh(x) - x) / x**3, mp.mpf(1) / 6),
            (mp.mpf(0),) * 2, (mp.mpf("1.01"),) * 2, (3, 8)),
        Fit("LOG", "(log(1 + f) - f + f**2 / 2) / f**3, sqrt(0.5) <= 1 + f <= sqrt(2)",
            lambda f: mp.mpf(1) / 3 if abs(f) < TINY else (mp.log1p(f) - f + f * f / 2) / f**3,
            (low, low), (high, high), (9, None)),
        Fit("LOG_SERIES", "(2 atanh(s) / s - 2) / s**2 in s**2, for 1 + f = (1 + s) / (1 - s)",
            _root(lambda s: (2 * mp.atanh(s) / s - 2) / s**2, third),
            (mp.mpf(0),) * 2, (series, series), (None, 7)),
        Fit("LOG_TAIL", "(2 atanh(s) / s - 2 - 2/3 s**2) / s**4 in s**2",
            _root(lambda s: (2 * mp.atanh(s) / s - 2 - third * s**2) / s**4, mp.mpf(2) / 5),
            (mp.mpf(0),) * 2, (series, series), (None, 7)),
        Fit("SIN", "(sin(r) / r - 1) / r**2 in r**2, r <= pi / 4",
            _root(lambda r: (mp.sin(r) / r - 1) / r**2, -mp.mpf(1) / 6),
            (mp.mpf(0),) * 2, (quarter_pi,) * 2, (3, 7)),
        Fit("COS", "(cos(r) - 1 + r**2 / 2) / r**4 in r**2, r <= pi / 4",
            _root(lambda r: (mp.cos(r) - 1 + r * r / 2) / r**4, mp.mpf(1) / 24),
            (mp.mpf(0),) * 2, (quarter_pi,) * 2, (3, 6)),
        Fit("ATAN", "(atan(t) / t - 1) / t**2 in t**2, t <= tan(pi / 8)",
            _root(lambda t: (mp.atan(t) / t - 1) / t**2, -mp.mpf(1) / 3),
            (mp.mpf(0),) * 2, (eighth, eighth), (5, 12)),
        Fit("ASIN", "(asin(x) / x - 1) / x**2 in x**2, x <= 0.5",
            _root(lambda x: (mp.asin(x) / x - 1) / x**2, mp.mpf(1) / 6),
            (mp.mpf(0),) * 2, (mp.mpf("0.2501"),) * 2, (6, 14)),
        Fit("ERF", "erf(x) / x - 1 in x**2, x <= 0.85",
            _root(lambda x: mp.erf(x) / x - 1, 2 / mp.sqrt(mp.pi) - 1),
            (mp.mpf(0),) * 2, (mp.mpf("0.7226"),) * 2, (7, 13)),
    ]  # fmt: skip
    for index, (scale, last) in enumerate(zip(ERFC_SCALES, (10.3, 28.0))):
        ends = [(mp.mpf(a) - scale) / (mp.mpf(a) + scale) for a in (0.49, last)]
        degrees = (12, None) if index == 0 else (None, 24)
        name = "ERFC"
        fits.append(
            Fit(name, "(1 + 2a) exp(a**2) erfc(a) in t = (a - k) / (a + k), a >= 0.49",
                _erfc(scale), (ends[0],) * 2, (ends[1],) * 2, degrees)
        )  # fmt: skip
    return fits


def interpolate(function: Function, low: Any, high: Any, degree: int) -> list[Any]:
    """Return the coefficients, constant term first, of the interpolant at Chebyshev nodes."""
    count = degree + 1
    nodes = [
        (low + high) / 2 + (high - low) / 2 * mp.cos(mp.pi * (2 * i + 1) / (2 * count))
        for i in range(count)
    ]
    matrix = mp.matrix(count, count)
    for row, node in enumerate(nodes):
        for power in range(count):
            matrix[row, power] = node**power
    values = mp.matrix([function(node) for node in nodes])
    return list(mp.lu_solve(matrix, values))


def single(value: Any) -> float:
    """Return a number rounded to single precision."""
    return struct.unpack("<f", struct.pack("<f", float(value)))[0]


def _constants() -> list[tuple[str, str, Any, list[int], list[int]]]:
    """Return constants in parts: name, meaning, value, digits of the parts (0: all that fit)."""
    return [
        ("LN2", "ln 2; the first part times an exponent is exact", mp.log(2), [15, 0], [32, 0]),
        ("LOG2_E", "1 / ln 2", 1 / mp.log(2), [0, 0], [0, 0]),
        ("LOG10_E", "1 / ln 10", 1 / mp.log(10), [0, 0], [0, 0]),
        ("LOG10_2", "log10(2), likewise", mp.log10(2), [12, 0], [32, 0]),
        ("HALF_PI", "pi / 2; the parts times a quadrant are exact", mp.pi / 2,
         [11, 11, 11, 0], [33, 33, 33, 0]),
        ("WHOLE_HALF_PI", "pi / 2, in parts that are rounded", mp.pi / 2, [0, 0], [0, 0]),
        ("TWO_OVER_PI", "2 / pi", 2 / mp.pi, [0], [0]),
        ("THIRD", "2 / 3", mp.mpf(2) / 3, [0, 0], [0, 0]),
    ]  # fmt: skip


def parts(value: Any, digits: list[int], element: str) -> list[float]:
    """Return numbers that sum to `value`: so many binary digits each, cut off; 0: rounded."""
    found: list[float] = []
    for count in digits:
        if count:
            unit = mp.mpf(2) ** (mp.floor(mp.log(abs(value), 2)) - count + 1)
            part = float(mp.floor(value / unit) * unit)
        else:
            part = single(value) if element == "float" else float(value)
        found.append(part)
        value = value - mp.mpf(part)
    return found


def two_over_pi_words() -> list[int]:
    """Return the binary digits of 2 / pi in words of 64, after two words of zeros."""
    mp.mp.dps = 500
    words = [0, 0]
    fraction = 2 / mp.pi
    for _ in range(20):
        fraction *= mp.mpf(2) ** 64
        words.append(int(mp.floor(fraction)))
        fraction -= words[-1]
    mp.mp.dps = DIGITS
    return words


def module_text() -> str:
    """Return the text of the module of coefficients."""
    mp.mp.dps = DIGITS
    lines = [
        '"""Coefficients of vector maths, constant term first; from `derive_coefficients`."""',
        "",
        "from __future__ import annotations",
        "",
        "# fmt: off",
    ]
    for fit in _fits():
        lines += ["", f"# {fit.meaning}."]
        for index, element in enumerate(("float", "double")):
            degree = fit.degrees[index]
            if degree is None:
                continue
            found = interpolate(fit.function, fit.low[index], fit.high[index], degree)
            numbers = [single(c) if element == "float" else float(c) for c in found]
            lines += [f"{fit.name}_{element.upper()} = (", *(f"    {n!r}," for n in numbers), ")"]
    for element, scale in zip(("FLOAT", "DOUBLE"), ERFC_SCALES):
        lines += ["", f"ERFC_SCALE_{element} = ({scale!r},)"]
    for name, meaning, value, *digits in _constants():
        lines += ["", f"# {meaning}."]
        for element, wanted in zip(("float", "double"), digits):
            numbers = parts(value, wanted, element)
            lines += [f"{name}_{element.upper()} = (", *(f"    {n!r}," for n in numbers), ")"]
    lines += ["", "# The binary digits of 2 / pi, after two words of zeros."]
    lines += ["TWO_OVER_PI_WORDS = (", *(f"    0x{w:016X}," for w in two_over_pi_words()), ")"]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Write the module next to this one."""
    path = Path(__file__).with_name("vector_math_coefficients.py")
    path.write_text(module_text(), encoding="utf-8")


if __name__ == "__main__":
    main()
