"""Kernels of serial loops, and the product template: what the CUDA emitter is tested on.

Run as a program, this writes the golden files again: look at the difference before committing it.
"""

from __future__ import annotations

from pathlib import Path

from smelt.codegen.cuda.emit import emit_kernel
from smelt.codegen.schedule import cuda
from smelt.codegen.schedule.product import Contraction
from smelt.ir import dtypes, scalar
from smelt.ir.loop.builder import Names, load, store
from smelt.ir.loop.grammar import Kernel, row_major_buffer
from smelt.ir.loop.parser import parse_kernel
from smelt.ir.scalar import Expr

GOLDEN = Path(__file__).parent / "golden"

TEXTS = {
    "exp_mul": """
kernel exp_mul(x: f32[n, 40], y: f32[40], out: f32[n, 40] written) sizes(n):  # model.py:7
    for i in serial(0, n):
        for j in serial(0, 40):
            out[i, j] = exp(x[i, j]) * y[j]
""",
    "softmax": """
kernel softmax(x: f32[3, 200], out: f32[3, 200] written):  # model.py:12
    for i in serial(0, 3):
        local row: f32[200]
        local greatest: f32[]
        greatest[] = -inf_f32
        for j in serial(0, 200):
            greatest[] max= x[i, j]
        let top: f32 = greatest[]
        local total: f32[]
        total[] = 0.0
        for k in serial(0, 200):
            let e: f32 = exp(x[i, k] - top)
            total[] += e
            row[k] = e
        let sum: f32 = total[]
        for l in serial(0, 200):
            out[i, l] = row[l] / sum
""",
    "take": """
kernel take(x: f32[10], at: i64[300], out: f32[300] written):
    for i in serial(0, 300):
        check 1(at[i] >= 0 and at[i] < 10, at[i], 10)
        out[i] = x[at[i]]
""",
    "integers": """
kernel integers(x: i32[70], y: i32[70], out: i32[4, 70] written):
    for i in serial(0, 70):
        out[0, i] = max(x[i] + y[i], x[i] * y[i])
        out[1, i] = x[i] // y[i]
        out[2, i] = x[i] % 7_i32
        out[3, i] = select(x[i] < y[i], x[i] & y[i], x[i] << 2_i32)
""",
}  # fmt: skip


def product(rows: int = 20, depth: int = 18, columns: int = 33) -> Kernel:
    """Return `out = max(a @ b, 0)` by tiles."""
    f32 = dtypes.float32
    a = row_major_buffer("a", f32, (rows, depth))
    b = row_major_buffer("b", f32, (depth, columns))
    out = row_major_buffer("out", f32, (rows, columns))
    names = Names({"a", "b", "out"})
    m, n, k = (names.var(v) for v in "mnk")

    def epilogue(point: dict[Expr, Expr], total: Expr):
        zero = scalar.Const(0.0, f32)
        return (store(out, (point[m], point[n]), scalar.apply("max", total, zero)),)

    contraction = Contraction(
        (), ((m, rows),), ((n, columns),), ((k, depth),), load(a, m, k), load(b, k, n), f32,
        epilogue,
    )  # fmt: skip
    body = cuda.contract(contraction, names)
    return Kernel("matmul_relu", (a, b, out), body, written=frozenset({"out"}))


def serial(name: str) -> Kernel:
    """Return a kernel of serial loops."""
    return parse_kernel(TEXTS[name].strip() + "\n")


def bound() -> dict[str, Kernel]:
    """Return every kernel, bound to blocks and threads."""
    found = {name: cuda.schedule_kernel(serial(name)) for name in TEXTS}
    return {**found, "matmul_relu": product()}


if __name__ == "__main__":
    for name, kernel in bound().items():
        (GOLDEN / f"{name}.txt").write_text(emit_kernel(kernel).text)
