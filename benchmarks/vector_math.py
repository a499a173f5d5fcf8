"""Test vector maths on all 2**32 single-precision numbers against double precision.

    python -m benchmarks.vector_math [exp log …] [--threads 2] [--level avx2] [--output FILE]

For each unary function, every float32 is computed by smelt's machine code and by NumPy in float64.
Printed is a row of the table in docs/vector_math.md: the greatest error in units in the last place
of the correctly rounded result, where it occurs, how many results are not the correctly rounded
one, and how many have another NaN, infinity or sign of zero than NumPy. Takes minutes a function.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from smelt.codegen.llvm.module import compile_ir_text, emit_program
from smelt.codegen.llvm.vector_math import FUNCTIONS
from smelt.codegen.target import Target, host, narrowed
from smelt.ir import dtypes, scalar, scalar_reference
from smelt.ir.loop.builder import load, plus, store
from smelt.ir.loop.grammar import For, Kernel, Kind, Launch, Place, Program, row_major_buffer
from smelt.ir.scalar import SCALAR_OPS, Var, integer
from smelt.runtime import pool_ir
from smelt.runtime.executable import Executable
from smelt.runtime.signature import signature_of

CHUNK = 1 << 16
RUN = 1 << 22
UNARY = tuple(name for name in FUNCTIONS if SCALAR_OPS[name].arity == 1)


@dataclass(frozen=True)
class Result:
    """What was found for one function.

    Attributes:
        worst: greatest error in units in the last place; at most one half if always right.
        at: where it occurs.
        inexact: number of results that are not the correctly rounded ones.
        special: number of results with another NaN, infinity or sign of zero than the reference's.
    """

    worst: float = 0.5
    at: float = 0.0
    inexact: int = 0
    special: int = 0

    def joined(self, other: Result) -> Result:
        """Return the result over the arguments of both."""
        worse = self if self.worst >= other.worst else other
        return Result(
            worse.worst, worse.at, self.inexact + other.inexact, self.special + other.special
        )


def function(op: str, target: Target) -> Executable:
    """Return the machine code that applies `op` to `CHUNK` numbers."""
    x, y = (row_major_buffer(name, dtypes.float32, (CHUNK,)) for name in ("x", "y"))
    row, lane = Var("row"), Var("lane")
    lanes = target.lanes(dtypes.float32)
    at = plus(row, lane)
    body = store(y, (at,), scalar.apply(op, load(x, at)))
    vector = For(lane, integer(0), integer(lanes), Kind.VECTOR, (body,))
    rows = For(row, integer(0), integer(CHUNK), Kind.SERIAL, (vector,), lanes)
    kernel = Kernel(op, (x, y), (rows,), written=frozenset({"y"}))
    steps = (Launch(op, (Place("input", 0), Place("output", 0))),)
    program = Program(op, (kernel,), steps, (x,), (y,))
    native = emit_program(program, target).object
    support = compile_ir_text(pool_ir.text(target.triple), target)
    return Executable(signature_of(program), native, (), support)


def compare(op: str, code: Executable, begin: int) -> Result:
    """Return the errors on the numbers whose bits are begin … begin + RUN - 1."""
    result = Result()
    found = np.empty(CHUNK, np.float32)
    for first in range(begin, begin + RUN, CHUNK):
        x = np.arange(first, first + CHUNK, dtype=np.uint32).view(np.float32)
        code(x, outputs=[found])
        with np.errstate(all="ignore"):
            result = result.joined(_errors(op, x, found))
    return result


def _errors(op: str, x: Any, found: Any) -> Result:
    wide = scalar_reference.evaluate(op, x.astype(np.float64))
    right = wide.astype(np.float32)
    where = np.flatnonzero(found.view(np.uint32) != right.view(np.uint32))
    if not len(where):
        return Result()
    got, want, exact = found[where], right[where], wide[where]
    both_nan = np.isnan(got) & np.isnan(want)
    finite = np.isfinite(got) & np.isfinite(want)
    other_zero = (got == 0) & (want == 0)
    special = int((~finite & ~both_nan | other_zero).sum())
    counted = finite & ~other_zero
    if not counted.any():
        return Result(special=special)
    unit = np.spacing(np.abs(want)).astype(np.float64)
    distance = np.where(counted, np.abs(got.astype(np.float64) - exact) / unit, 0.0)
    worst = int(distance.argmax())
    return Result(float(distance[worst]), float(x[where[worst]]), int(counted.sum()), special)


def measure(op: str, target: Target, threads: int) -> Iterator[str]:
    """Yield the rows of a function."""
    code = function(op, target)
    start = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        parts = pool.map(lambda begin: compare(op, code, begin), range(0, 1 << 32, RUN))
        result = Result()
        for part in parts:
            result = result.joined(part)
    seconds = time.perf_counter() - start
    share = 100.0 * result.inexact / 2**32
    yield (
        f"| {op} | {result.worst:.3f} | {result.at!r} | {share:.2f} % | {result.special} | "
        f"{seconds:.0f} s |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("functions", nargs="*", default=UNARY, metavar="function")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--level", default="", help="avx512, avx2 or sse2; default: the host's")
    parser.add_argument("--output", help="file to which rows are appended")
    options = parser.parse_args()
    target = host(1)
    if options.level:
        target = narrowed(target, options.level)
    heading = "| function | max ulp | at | not correctly rounded | special values wrong | time |"
    print(heading, "|---|---|---|---|---|---|", sep="\n")
    for op in options.functions:
        for row in measure(op, target, options.threads):
            print(row, flush=True)
            if options.output:
                with open(options.output, "a", encoding="utf-8") as file:
                    file.write(row + "\n")


if __name__ == "__main__":
    main()
