"""Emit a program: its kernels, and the entry that launches them in order.

i32 run(context) -> DONE, DATA_ERROR or INTERRUPTED
i32 derive(context), where memory is kept between calls
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import assert_never

from smelt.codegen.llvm.expressions import scalar
from smelt.codegen.llvm.kernels import Emitted, emit_kernel, fail_function
from smelt.codegen.llvm.outline import leave_if_failed
from smelt.codegen.llvm.scope import Frame, Scope, Usage
from smelt.codegen.llvm.values import Value, integer_constant
from smelt.codegen.llvm.writer import Module, Writer
from smelt.codegen.target import Target
from smelt.ir.abi import DERIVE, ENTRY, Context, Status, Table
from smelt.ir.loop.grammar import Branch, Kernel, Launch, Place, Program, Step, While
from smelt.ir.scalar import Var, of_dim


@dataclass(frozen=True)
class ProgramText:
    """A program as LLVM IR.

    Attributes:
        text: the module.
        scratch_bytes: scratch memory that each worker needs, a multiple of 64.
    """

    text: str
    scratch_bytes: int


@dataclass
class _Entry:
    """The entry function while it is written."""

    frame: Frame
    scope: Scope
    kernels: Mapping[str, tuple[Kernel, Emitted]]
    names: Mapping[str, str]
    tables: dict[str, Value] = field(default_factory=dict)


_LOCAL_NAME = re.compile(r"%[\w.]+|^[\w.]+:", re.MULTILINE)
_COMMENT = re.compile(r"^ *;.*\n", re.MULTILINE)

_TABLES = {
    "input": Context.INPUTS,
    "output": Context.OUTPUTS,
    "constant": Context.CONSTANTS,
    "arena": Context.ARENA,
    "kept": Context.KEPT,
}


def emit_text(program: Program, target: Target) -> ProgramText:
    """Return the LLVM IR of a program."""
    module = Module(target)
    emitted: dict[str, tuple[Kernel, Emitted]] = {}
    for kernel in program.kernels:
        emitted[kernel.name] = (kernel, emit_kernel(module, kernel))
    names = _merged([found for _, found in emitted.values()])
    bodies = [
        function
        for _, found in emitted.values()
        if names[found.symbol] == found.symbol
        for function in found.functions
    ]
    if any(e.checked for _, e in emitted.values()):
        module.functions.append(fail_function())
    module.functions += bodies
    if program.derive:
        module.functions.append(
            _emit_entry(module, program, emitted, names, DERIVE, program.derive)
        )
    module.functions.append(_emit_entry(module, program, emitted, names, ENTRY, program.steps))
    scratch = max((e.scratch_bytes for _, e in emitted.values()), default=0)
    heading = "".join(f"; {line}\n" for line in (program.name, *program.comments))
    return ProgramText(heading + module.text(), scratch)


def _merged(kernels: list[Emitted]) -> dict[str, str]:
    """Return, for each kernel's function, that of the first kernel of equal structure."""
    alike: dict[tuple[int, ...], list[Emitted]] = {}
    for kernel in kernels:
        alike.setdefault(tuple(f.count("\n") for f in kernel.functions), []).append(kernel)
    names: dict[str, str] = {}
    for group in alike.values():
        first: dict[tuple[str, ...], str] = {}
        for kernel in group:
            shape = _shape(kernel) if len(group) > 1 else ()
            names[kernel.symbol] = first.setdefault(shape, kernel.symbol)
    return names


def _shape(kernel: Emitted) -> tuple[str, ...]:
    """Return what kernels of equal structure have in common: their text but for the names."""
    numbers: dict[str, str] = {}

    def anonymous(name: re.Match[str]) -> str:
        bare = name[0].strip("%:")
        return numbers.setdefault(bare, f"%{len(numbers)}")

    own = re.compile(rf"@{re.escape(kernel.symbol)}(?=[.(])")
    return tuple(
        _LOCAL_NAME.sub(anonymous, own.sub("@", _COMMENT.sub("", text)))
        for text in kernel.functions
    )


def _emit_entry(
    module: Module,
    program: Program,
    kernels: Mapping[str, tuple[Kernel, Emitted]],
    names: Mapping[str, str],
    symbol: str,
    steps: tuple[Step, ...],
) -> str:
    w = Writer(module)
    w.reserve("context")
    scratch = w.field(Value("%context", "ptr"), Context.SCRATCH, "ptr", "scratch")
    frame = Frame(w, symbol, scratch, checked=False, outlines=False, usage=Usage())
    context = Value("%context", "ptr")
    sizes = w.field(context, Context.SIZES, "ptr", "sizes") if program.sizes else None
    scope = Scope()
    for number, name in enumerate(program.sizes):
        assert sizes is not None
        scope = scope.bind(name, w.field(sizes, number, "i64", name))
    entry = _Entry(frame, scope, kernels, names)
    for kind, number in _TABLES.items():
        entry.tables[kind] = w.field(context, number, "ptr", f"{kind}s")
    table = w.field(context, Context.TABLE, "ptr", "table")
    entry.tables["poll"] = w.field(table, Table.POLL, "ptr", "poll")
    _emit_steps(entry, steps)
    w.line(f"ret i32 {Status.DONE.value}")
    head = f"define i32 @{symbol}(ptr %context) #0 {{"
    return "\n".join([head, "entry:", *w.entry, *w.lines, "}"])


def _emit_steps(entry: _Entry, steps: tuple[Step, ...]) -> None:
    w = entry.frame.w
    for step in steps:
        match step:
            case Launch():
                _emit_launch(entry, step)
            case Branch(condition, body, orelse):
                yes, no, done = (w.name(n) for n in ("then", "else", "endif"))
                w.branch(_bool_at(entry, condition), yes, no)
                for label, block in ((yes, body), (no, orelse)):
                    w.label(label)
                    _emit_steps(entry, block)
                    w.jump(done)
                w.label(done)
            case While(test, condition, body):
                begin, run, done = (w.name(n) for n in ("while", "body", "endwhile"))
                w.jump(begin)
                w.label(begin)
                _emit_poll(entry)
                _emit_steps(entry, test)
                w.branch(_bool_at(entry, condition), run, done)
                w.label(run)
                _emit_steps(entry, body)
                w.jump(begin)
                w.label(done)
            case _:
                assert_never(step)


def _emit_launch(entry: _Entry, launch: Launch) -> None:
    w = entry.frame.w
    kernel, emitted = entry.kernels[launch.kernel]
    _emit_poll(entry)
    pointers = [_address(entry, place) for place in launch.places]
    sizes = [scalar(entry.frame, entry.scope, Var(name)) for name in kernel.sizes]
    operands = [Value("%context", "ptr"), *pointers, *sizes, entry.frame.worker_scratch]
    arguments = ", ".join(o.typed for o in operands)
    w.line(f"call void @{entry.names[emitted.symbol]}({arguments})")
    if emitted.checked:
        leave_if_failed(w, f"i32 {Status.DATA_ERROR.value}")


def _emit_poll(entry: _Entry) -> None:
    """Leave the program if the person asked for it."""
    w = entry.frame.w
    stop = w.emit(f"call i32 {entry.tables['poll'].text}(ptr %context)", "i32", 0, "stop")
    leave, on = w.name("interrupted"), w.name("go")
    w.branch(w.compare("ne", stop, integer_constant(0, "i32")), leave, on)
    w.label(leave)
    w.line(f"ret i32 {Status.INTERRUPTED.value}")
    w.label(on)


def _address(entry: _Entry, place: Place) -> Value:
    w, table = entry.frame.w, entry.tables[place.kind]
    index = scalar(entry.frame, entry.scope, of_dim(place.index))
    if place.kind in ("arena", "kept"):
        return w.offset(table, "i8", index)
    where = w.offset(table, "i64", index)
    return w.emit(f"load ptr, {where.typed}, align 8", "ptr", 0, f"{place.kind}_{place.index}")


def _bool_at(entry: _Entry, place: Place) -> Value:
    w = entry.frame.w
    found = w.emit(f"load i8, {_address(entry, place).typed}, align 1", "i8", 0, "condition")
    return w.compare("ne", found, integer_constant(0, "i8"))
