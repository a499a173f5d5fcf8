"""Decide which memory every value lives in: loop programs to loop programs.

Takes a program in which each temporary has memory of its own; gives one with a smaller arena, where
temporaries that are never needed at once share bytes, an elementwise kernel may write over an
operand that it is the last to read, and results go straight into the storage that the caller wants
them in (parameters that a step updates) where nobody needs the old contents any more.

    launch exp(input 0, arena 0)                 launch exp(input 0, arena 0)
    launch neg(arena 0, arena 4096)              launch neg_over(arena 0)
    launch sum(arena 4096, output 0)             launch sum(arena 0, output 0)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from smelt.ir import scalar
from smelt.ir.dim import Dim
from smelt.ir.loop.builder import Names, for_nest
from smelt.ir.loop.grammar import (
    Branch,
    Buffer,
    Check,
    Kernel,
    Launch,
    Place,
    Program,
    Step,
    Store,
    While,
    row_major_buffer,
    walk,
)
from smelt.ir.scalar import Load, Var
from smelt.passes.in_place import Variants, launches, map_launches, may_share

ALIGNMENT = 64

MapPlace = Callable[[Place], Place]


def plan_memory(program: Program, donate: Mapping[int, int] | None = None) -> Program:
    """Return `program` with its arena planned.

    Args:
        program: temporaries have an offset each, unlike all others'.
        donate: for each output that the caller passes the storage of an input for, the number of
            that input. Such an output is written only when every read of the input is done and no
            check can fail any more; otherwise it is computed apart and copied at the end.
    """
    program = _with_safe_donations(program, donate or {})
    program = _in_place(program)
    return _packed(program)


# --- what steps touch --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Use:
    """A step that touches memory.

    Attributes:
        position: number of the step, counted through control flow.
        place: the memory.
        nbytes: how much of it.
        writes: whether the step writes it.
    """

    position: int
    place: Place
    nbytes: int | Dim
    writes: bool


def uses(program: Program) -> tuple[list[Use], list[tuple[int, int]]]:
    """Return every use of memory in order, and the spans of positions that loops repeat."""
    kernels = {k.name: k for k in program.kernels}
    found: list[Use] = []
    loops: list[tuple[int, int]] = []
    position = 0

    def visit(steps: Iterable[Step]) -> None:
        nonlocal position
        for step in steps:
            position += 1
            match step:
                case Launch(name, places):
                    kernel = kernels[name]
                    for place, param in zip(places, kernel.params):
                        writes = param.name in kernel.written
                        found.append(Use(position, place, _nbytes(param), writes))
                case Branch(condition, body, orelse):
                    found.append(Use(position, condition, 1, False))
                    visit(body)
                    visit(orelse)
                case While(test, condition, body):
                    begin = position
                    visit(test)
                    found.append(Use(position, condition, 1, False))
                    visit(body)
                    position += 1
                    loops.append((begin, position))

    visit(program.steps)
    return found, loops


def _nbytes(buffer: Buffer) -> int | Dim:
    if 0 in buffer.shape:
        return 0
    span: int | Dim = 1
    for extent, stride in zip(buffer.shape, buffer.strides):
        span = span + (extent - 1) * stride
    return span * buffer.dtype.itemsize


def _rounded(nbytes: int | Dim) -> int | Dim:
    return (nbytes + (ALIGNMENT - 1)) // ALIGNMENT * ALIGNMENT


# --- donation ----------------------------------------------------------------------------------


def _with_safe_donations(program: Program, donate: Mapping[int, int]) -> Program:
    """Merge parameters that share storage, and detour the outputs that would come too early."""
    if not donate:
        return program
    found, loops = uses(program)
    kernels = {k.name: k for k in program.kernels}
    steps = dict(launches(program.steps))
    last_check = max((n for n, s in steps.items() if _checks(kernels[s.kernel])), default=0)
    inside_loops = {n for begin, end in loops for n in range(begin, end + 1)}
    merged: dict[int, list[tuple[Place, Place]]] = {}
    detours: list[int] = []
    for output, source in donate.items():
        old, new = Place("input", source), Place("output", output)
        reads = [u.position for u in found if u.place == old]
        writes = [u.position for u in found if u.place == new and u.writes]
        begin = min(writes, default=0)
        if not writes:
            continue
        if begin <= last_check or set(writes) & inside_loops or max(reads, default=0) > begin:
            detours.append(output)
        elif begin in reads:
            step = steps[begin]
            pair = (step.places.index(old), step.places.index(new))
            if step.places.count(old) == 1 and may_share(kernels[step.kernel], *pair):
                merged.setdefault(begin, []).append((old, new))
            else:
                detours.append(output)
    maker = Variants(program)

    def over(position: int, step: Launch) -> Launch:
        for old, new in merged.get(position, ()):
            step = maker.merged(step, step.places.index(old), step.places.index(new))
        return step

    program = replace(program, steps=map_launches(program.steps, over))
    program = replace(program, kernels=maker.kernels_of(program))
    return _detoured(program, detours)


def _checks(kernel: Kernel) -> bool:
    return any(isinstance(s, Check) for s in walk(kernel.body))


def _detoured(program: Program, outputs: list[int]) -> Program:
    """Compute outputs in the arena and copy them into their place after everything else."""
    copies: list[Launch] = []
    kernels = list(program.kernels)
    names = Names(k.name for k in kernels)
    moved: dict[Place, Place] = {}
    end = program.arena_bytes
    for output in outputs:
        target = program.outputs[output]
        dense = row_major_buffer("source", target.dtype, target.shape)
        place = Place("arena", end)
        # The detour keeps the layout of the output, gaps included, so that kernels stay valid.
        source = replace(target, name="source")
        end = end + _rounded(_nbytes(source))
        moved[Place("output", output)] = place
        axes = [(Var(f"i{d}"), e) for d, e in enumerate(dense.shape)]
        point = tuple(v for v, _ in axes)
        result = replace(target, name="result")
        body = for_nest(axes, [Store(result, point, Load(source, point))])
        symbols = {s.name for d in target.shape for s in scalar.variables(scalar.of_dim(d))}
        kernel = Kernel(
            names.fresh("write_back"), (source, result), body, tuple(sorted(symbols)),
            frozenset({"result"}),
        )  # fmt: skip
        kernels.append(kernel)
        copies.append(Launch(kernel.name, (place, Place("output", output))))

    def elsewhere(position: int, step: Launch) -> Launch:
        return Launch(step.kernel, tuple(moved.get(p, p) for p in step.places))

    steps = (*map_launches(program.steps, elsewhere), *copies)
    return replace(program, kernels=tuple(kernels), steps=steps, arena_bytes=end)


def _in_place(program: Program) -> Program:
    """Let kernels write over temporaries that they are the last to read."""
    found, loops = uses(program)
    repeated = {n for begin, end in loops for n in range(begin, end + 1)}
    last: dict[Place, int] = {}
    first: dict[Place, int] = {}
    for use in found:
        last[use.place] = use.position
        first.setdefault(use.place, use.position)
    maker = Variants(program)
    renamed: dict[Place, Place] = {}

    def current(place: Place) -> Place:
        while place in renamed:
            place = renamed[place]
        return place

    def over(position: int, step: Launch) -> Launch:
        original = step.places
        step = Launch(step.kernel, tuple(current(p) for p in original))
        if position in repeated:
            return step
        kernel = maker.kernels[step.kernel]
        for q, target in enumerate(original):
            fresh = target.kind == "arena" and first.get(target) == position
            if not fresh or kernel.params[q].name not in kernel.written:
                continue
            for p, place in enumerate(step.places):
                dying = place.kind == "arena" and last.get(place) == position
                single = step.places.count(place) == 1
                if p != q and dying and single and may_share(kernel, p, q):
                    renamed[target] = place
                    last[place] = last[target]
                    places = tuple(place if k == q else x for k, x in enumerate(step.places))
                    return maker.merged(Launch(step.kernel, places), p, q)
        return step

    steps = _with_conditions(map_launches(program.steps, over), current)
    result = replace(program, steps=steps)
    return replace(result, kernels=maker.kernels_of(result))


# --- packing -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Span:
    """When a temporary is needed.

    Attributes:
        place: its memory in the program as it came.
        nbytes: its size.
        begin: position of the first step that touches it.
        end: position of the last.
    """

    place: Place
    nbytes: int
    begin: int
    end: int


def _packed(program: Program) -> Program:
    """Give temporaries offsets such that those needed at once do not overlap."""
    found, loops = uses(program)
    begin: dict[Place, int] = {}
    end: dict[Place, int] = {}
    size: dict[Place, int | Dim] = {}
    for use in found:
        if use.place.kind == "arena":
            begin.setdefault(use.place, use.position)
            end[use.place] = use.position
            size[use.place] = _larger(size.get(use.place, 0), use.nbytes)
    for first, last in loops:
        for place in begin:
            # What a loop touches holds its contents from one iteration to the next.
            if begin[place] <= last and end[place] >= first:
                begin[place] = min(begin[place], first)
                end[place] = max(end[place], last)
    fixed = [Span(p, n, begin[p], end[p]) for p in begin if isinstance(n := _rounded(size[p]), int)]
    placed = _placed(fixed)
    offsets: dict[Place, int | Dim] = dict(placed)
    total: int | Dim = max((placed[s.place] + s.nbytes for s in fixed), default=0)
    for place in begin:
        if place not in offsets:
            offsets[place] = total
            total = total + _rounded(size[place])

    def moved(place: Place) -> Place:
        return Place("arena", offsets[place]) if place in offsets else place

    steps = map_launches(
        program.steps, lambda _, s: Launch(s.kernel, tuple(moved(p) for p in s.places))
    )
    return replace(program, steps=_with_conditions(steps, moved), arena_bytes=total)


def _placed(spans: list[Span]) -> dict[Place, int]:
    """Return an offset for each span: the largest first, each into the tightest gap that fits."""
    offsets: dict[Place, int] = {}
    done: list[tuple[int, Span]] = []
    for span in sorted(spans, key=lambda s: (-s.nbytes, s.begin)):
        busy = sorted(
            (offset, offset + other.nbytes)
            for offset, other in done
            if other.begin <= span.end and span.begin <= other.end
        )
        best, slack, edge = -1, None, 0
        for low, high in busy:
            room = low - edge
            if room >= span.nbytes and (slack is None or room < slack):
                best, slack = edge, room
            edge = max(edge, high)
        offset = edge if slack is None else best
        offsets[span.place] = offset
        done.append((offset, span))
    return offsets


def _larger(a: int | Dim, b: int | Dim) -> int | Dim:
    if isinstance(a, int) and isinstance(b, int):
        return max(a, b)
    # Uses of one temporary have one size, but for the flag that a step reads of it.
    return a if isinstance(a, Dim) else b


def _with_conditions(steps: Iterable[Step], moved: MapPlace) -> tuple[Step, ...]:
    result: list[Step] = []
    for step in steps:
        match step:
            case Branch(condition, body, orelse):
                branches = (_with_conditions(b, moved) for b in (body, orelse))
                result.append(Branch(moved(condition), *branches))
            case While(test, condition, body):
                test, body = (_with_conditions(b, moved) for b in (test, body))
                result.append(While(test, moved(condition), body))
            case Launch():
                result.append(step)
    return tuple(result)
