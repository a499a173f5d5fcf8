"""The shape of a counted loop in LLVM IR."""

from __future__ import annotations

from collections.abc import Callable

from smelt.codegen.llvm.values import Value
from smelt.codegen.llvm.writer import Writer


def counted_loop(
    w: Writer,
    hint: str,
    start: Value,
    stop: Value,
    step: int,
    *,
    guarded: bool,
    body: Callable[[Value], None],
) -> None:
    """Write a loop that tests at its end, and once before it begins if `guarded`."""
    name = w.name(hint)
    head, before, done = (w.name(f"{part}_{hint}") for part in ("for", "enter", "end"))
    if guarded:
        some = w.compare("slt", start, stop)
        w.branch(some, before, done)
    else:
        w.jump(before)
    w.label(before)
    w.jump(head)
    w.label(head)
    top = len(w.lines)
    var = Value(f"%{name}", "i64")
    body(var)
    # The block in which the body ends is not known before it is written.
    latch = w.name(f"next_{hint}")
    w.jump(latch)
    w.label(latch)
    following = w.emit(f"add nsw i64 {var.text}, {step}", "i64", 0, f"{hint}_next")
    phi = f"phi i64 [ {start.text}, %{before} ], [ {following.text}, %{latch} ]"
    w.lines.insert(top, f"  {var.text} = {phi}")
    w.branch(w.compare("slt", following, stop), head, done)
    w.label(done)
