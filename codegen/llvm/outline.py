"""Make the body of a parallel loop a function that the runtime's pool can call.

A loop, together with the parallel loops directly inside it, becomes

    body(context, environment, begin, end, worker)      # called by the pool
    loop(context, environment's values, scratch, begin, end)   # inlined into it

Two functions, because only parameters can say that the buffers do not overlap.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from smelt.codegen.llvm import integers
from smelt.codegen.llvm.control import counted_loop
from smelt.codegen.llvm.expressions import scalar
from smelt.codegen.llvm.scope import Frame, Scope
from smelt.codegen.llvm.values import ONE, Operand, Value, integer_constant
from smelt.codegen.llvm.writer import Writer
from smelt.ir.abi import Context, Error, Table
from smelt.ir.loop.grammar import Comment, For, Let, Stmt
from smelt.ir.scalar import variables

EmitBody = Callable[[Frame, Scope, tuple[Stmt, ...]], None]
CONTEXT = Value("%context", "ptr")
SCRATCH = Value("%scratch", "ptr")


def emit_parallel(frame: Frame, scope: Scope, loop: For, emit_body: EmitBody) -> None:
    """Write the dispatch of a parallel loop, and the functions that it needs."""
    w = frame.w
    nest = collapsed(loop)
    extents = [_trip_count(frame, scope, part) for part in nest]
    total: Operand = ONE
    for extent in extents:
        total = integers.mul(w, total, extent)
    frame.usage.outlined += 1
    name = w.module.symbol(f"{frame.name}.{nest[-1].var.name}.{frame.usage.outlined}")
    captured = _captured(scope)
    environment = w.stack(8 * max(len(captured), 1), "environment")
    for slot, value in enumerate(captured):
        place = w.offset(environment, "i64", integer_constant(slot))
        w.line(f"store {value.typed}, {place.typed}, align 8")
    _write_loop(frame, scope, nest, name, captured, extents, emit_body)
    _write_entry(frame, name, captured)
    table = w.field(CONTEXT, Context.TABLE, "ptr", "table")
    dispatch = w.field(table, Table.PARALLEL_FOR, "ptr", "parallel_for")
    arguments = f"{CONTEXT.typed}, ptr @{name}.body, {environment.typed}, i64 0"
    w.line(f"call void {dispatch.text}({arguments}, {w.value(total).typed})")
    if frame.checked:
        leave_if_failed(w)


def leave_if_failed(w: Writer, result: str = "void") -> None:
    """Return from the function where a check has failed already."""
    error = w.field(CONTEXT, Context.ERROR, "ptr", "error")
    state = w.emit(
        f"load atomic i64, {w.offset(error, 'i64', integer_constant(Error.STATE)).typed} "
        "monotonic, align 8", "i64", 0, "state",
    )  # fmt: skip
    leave, on = w.name("leave"), w.name("go")
    w.branch(w.compare("ne", state, integer_constant(0)), leave, on)
    w.label(leave)
    w.line(f"ret {result}")
    w.label(on)


def collapsed(loop: For) -> list[For]:
    """Return a parallel loop and those that can be merged with it into one range.

    They are nested without anything between them but comments and `Let`s, and their bounds do not
    depend on what is bound on the way.
    """
    nest = [loop]
    bound = {loop.var}
    body = loop.body
    while True:
        body = tuple(s for s in body if not isinstance(s, Comment))
        match body:
            case (Let(var, _, inner),):
                bound.add(var)
                body = inner
            case (For(var, start, stop, kind, inner) as found,) if (
                kind is loop.kind and not bound & (variables(start) | variables(stop))
            ):
                nest.append(found)
                bound.add(var)
                body = inner
            case _:
                return nest


def _trip_count(frame: Frame, scope: Scope, loop: For) -> Value:
    w = frame.w
    start, stop = scalar(frame, scope, loop.start), scalar(frame, scope, loop.stop)
    span = integers.sub(w, stop, start)
    span = integers.add(w, span, integer_constant(loop.step - 1))
    count = integers.floordiv(w, span, integer_constant(loop.step), signed=True)
    return integers.extreme(w, count, integer_constant(0), greatest=True, signed=True)


def _captured(scope: Scope) -> list[Value]:
    """Return the values of a scope that the loop's function may need, each once."""
    found: dict[str, Value] = {}
    for place in scope.memory.values():
        found[place.pointer.text] = place.pointer
    for value in scope.variables.values():
        assert isinstance(value, Value), "a parallel loop stands outside of vector loops"
        if value.text.startswith("%"):
            found[value.text] = value
    return list(found.values())


def _write_loop(
    frame: Frame,
    scope: Scope,
    nest: list[For],
    name: str,
    captured: list[Value],
    extents: list[Value],
    emit_body: EmitBody,
) -> None:
    """Write the function that runs a part [begin, end) of the merged range."""
    w = Writer(frame.w.module, contract=frame.w.contract, reassociate=frame.w.reassociate)
    w.reserve("context", "scratch", "begin", "end", *(v.text[1:] for v in captured))
    inner = replace(frame, w=w, worker_scratch=SCRATCH, outlines=False)
    sizes = _with_extents(inner, scope, nest, extents)

    def iteration(position: Value) -> None:
        numbers = _split(w, position, sizes)
        _enter(inner, scope, nest, numbers, emit_body)

    if frame.checked:
        leave_if_failed(w)
    begin, end = Value("%begin", "i64"), Value("%end", "i64")
    counted_loop(w, "position", begin, end, 1, guarded=True, body=iteration)
    w.line("ret void")
    noalias = [f"{v.type} {'noalias ' if v.element == 'ptr' else ''}{v.text}" for v in captured]
    parameters = ", ".join(
        ["ptr %context", *noalias, "ptr noalias align 64 %scratch", "i64 %begin", "i64 %end"]
    )
    head = f"define internal void @{name}({parameters}) alwaysinline #0 {{"
    frame.w.module.functions.append("\n".join([head, "entry:", *w.entry, *w.lines, "}"]))


def _write_entry(frame: Frame, name: str, captured: list[Value]) -> None:
    """Write the function that the pool calls: unpack the environment and go on."""
    w = Writer(frame.w.module)
    w.reserve("context", "environment", "begin", "end", "worker")
    environment = Value("%environment", "ptr")
    values: list[Value] = []
    for slot, value in enumerate(captured):
        place = w.offset(environment, "i64", integer_constant(slot))
        hint = value.text[1:]
        values.append(w.emit(f"load {value.type}, {place.typed}, align 8", value.element, 0, hint))
    base = w.field(CONTEXT, Context.SCRATCH, "ptr", "scratch_base")
    stride = w.field(CONTEXT, Context.SCRATCH_STRIDE, "i64", "scratch_stride")
    shift = w.binary("mul", stride, Value("%worker", "i64"))
    scratch = w.offset(base, "i8", shift)
    ends = [Value("%begin", "i64"), Value("%end", "i64")]
    arguments = ", ".join(v.typed for v in [CONTEXT, *values, scratch, *ends])
    w.line(f"call void @{name}({arguments})")
    w.line("ret void")
    parameters = "ptr %context, ptr %environment, i64 %begin, i64 %end, i64 %worker"
    head = f"define internal void @{name}.body({parameters}) #0 {{"
    frame.w.module.functions.append("\n".join([head, "entry:", *w.lines, "}"]))


def _with_extents(frame: Frame, scope: Scope, nest: list[For], extents: list[Value]) -> list[Value]:
    """Return the trip counts inside the outlined function: constants, or computed again."""
    return [
        extent if extent.known is not None else _trip_count(frame, scope, part)
        for part, extent in zip(nest, extents)
    ]


def _split(w: Writer, position: Value, extents: list[Value]) -> list[Value]:
    """Return the number of each loop's iteration at a position of the merged range."""
    numbers: list[Value] = []
    for extent in reversed(extents[1:]):
        quotient = w.emit(f"udiv {position.typed}, {extent.text}", "i64", 0, "quotient")
        product = integers.mul(w, quotient, extent)
        numbers.append(w.value(integers.sub(w, position, product)))
        position = quotient
    numbers.append(position)
    return list(reversed(numbers))


def _enter(
    frame: Frame, scope: Scope, nest: list[For], numbers: list[Value], emit_body: EmitBody
) -> None:
    """Bind the loops' variables, and what is bound between them, and write the innermost body."""
    loop, number = nest[0], numbers[0]
    w = frame.w
    steps = integers.mul(w, number, integer_constant(loop.step))
    var = integers.add(w, scalar(frame, scope, loop.start), steps)
    inner = scope.bind(loop.var.name, var)
    if len(nest) == 1:
        emit_body(frame, inner, loop.body)
        return
    body = loop.body
    while True:
        for stmt in body:
            match stmt:
                case Comment(text):
                    w.comment(text)
                case Let(bound, value, rest):
                    inner = inner.bind(bound.name, scalar(frame, inner, value))
                    body = rest
                case _:
                    _enter(frame, inner, nest[1:], numbers[1:], emit_body)
                    return
