"""Internal functions that a module holds once and LLVM inlines where they are called.

What takes more than a few instructions (vector maths, conversions below the newest instruction
sets, integer powers) is written into a function of its own for each type it is used at, so the text
of a kernel stays short and readable: `call <16 x float> @smelt.exp.v16f32(<16 x float> %x)`.
"""

from __future__ import annotations

from collections.abc import Callable

from smelt.codegen.llvm.values import Operand, Value, mangled
from smelt.codegen.llvm.writer import Writer

Body = Callable[..., Value]
"""Takes a writer and one value a parameter, writes the function, gives its result."""


def call(
    w: Writer,
    name: str,
    operands: tuple[Operand, ...],
    body: Body,
    element: str | None = None,
    *,
    rare: bool = False,
) -> Value:
    """Call the function `name` at the type of its operands, writing it on its first use.

    Args:
        w: where the call is written.
        name: what it computes; the types are appended.
        operands: brought to one number of lanes.
        body: writes the function.
        element: LLVM type of a lane of the result; None: that of the first operand.
        rare: whether it stays a function of its own, as it is large and seldom runs.
    """
    values = w.matched(*operands)
    lanes = values[0].lanes
    result = values[0].element if element is None else element
    full = f"smelt.{name}.{mangled(values[0].element, lanes)}"

    def write() -> str:
        inner = Writer(w.module)
        inner.reserve("x", "y", "z", "r", "s", "left", "more", "done")
        parameters = tuple(Value(f"%{n}", v.element, lanes) for n, v in zip("xyz", values))
        returned = body(inner, *parameters)
        inner.line(f"ret {inner.spread(returned, lanes).typed}")
        kind = "noinline cold" if rare else "alwaysinline"
        names = ", ".join(p.typed for p in parameters)
        head = f"define internal {Value('', result, lanes).type} @{full}({names}) {kind} #0 {{"
        return "\n".join([head, "entry:", *inner.entry, *inner.lines, "}"])

    w.module.define(full, write)
    return w.call(full, result, lanes, values)
