"""Test vector maths on all 2**32 single-precision numbers against double precision.

    python -m benchmarks.vector_math [exp log …] [--threads 2] [--level avx2] [--record FILE]

For each unary function, every float32 is computed by smelt's machine code and by NumPy in float64.
Printed is a row of the table in docs/vector_math.md: the greatest error in units in the last place
of the correctly rounded result, where it occurs, how many results are not the correctly rounded
one, how many have another NaN, infinity or sign of zero than NumPy, and how many numbers were tried
(`--runs` tries fewer). `--record` puts the rows into that file. Takes minutes a function.
"""

from __future__ import annotations

import argparse
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
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
ALL_RUNS = (1 << 32) // RUN
STEP = 357
HEADING = "| function | max ulp | at | not correctly rounded | special values wrong | tried |"
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


def measure(op: str, target: Target, threads: int, runs: int) -> str:
    """Return the row of a function."""
    code = function(op, target)
    with ThreadPoolExecutor(threads) as pool:
        # An odd step visits every run once, exponents and signs in turn.
        begins = [number * STEP % ALL_RUNS * RUN for number in range(runs)]
        result = Result()
        for part in pool.map(lambda begin: compare(op, code, begin), begins):
            result = result.joined(part)
    tried = "all" if runs == ALL_RUNS else f"{runs * RUN:,}"
    share = 100.0 * result.inexact / (runs * RUN)
    return (
        f"| {op} | {result.worst:.3f} | {result.at!r} | {share:.2f} % | {result.special} | "
        f"{tried} |"
    )


def record(row: str, path: Path) -> None:
    """Put a row into the table of a file, in place of the function's old one."""
    lines = path.read_text(encoding="utf-8").splitlines()
    first = lines.index(HEADING)
    op = row.split("|")[1]
    for number in range(first, len(lines)):
        if lines[number].startswith(f"|{op}|"):
            lines[number] = row
            path.write_text("\n".join(lines) + "\n", encoding="utf-8")
            return
    raise SystemExit(f"{path} has no row for{op}")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("functions", nargs="*", default=UNARY, metavar="function")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--level", default="", help="avx512, avx2 or sse2; default: the host's")
    parser.add_argument("--runs", type=int, default=ALL_RUNS, help="of 2**22 numbers each")
    parser.add_argument("--record", type=Path, help="file whose table receives the rows")
    options = parser.parse_args()
    target = host(1)
    if options.level:
        target = narrowed(target, options.level)
    print(HEADING, "|---|---|---|---|---|---|", sep="\n")
    for op in options.functions:
        row = measure(op, target, options.threads, options.runs)
        print(row, flush=True)
        if options.record is not None:
            record(row, options.record)


if __name__ == "__main__":
    main()
