"""Bind a kernel of serial loops to the blocks and threads of a GPU.

    for i in serial(0, 64):               for b in block(0, 10):
        for j in serial(0, 40):               for t in thread(0, 256):
            y[i, j] = exp(x[i, j])    →           if b * 256 + t < 2560:
                                                      y[…] = exp(x[…])

Three ways, the first that fits: points of a nest without inner loops go to single threads; rows
whose body loops over their elements go to whole blocks, whose threads share those loops and combine
what they accumulate in shared memory; all else goes a row to a thread. The product of two matrices
has a template of its own, `contract`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from smelt.codegen.schedule.analysis import Dependence, dependence, is_plain, ranges_in
from smelt.codegen.schedule.product import Axis, Contraction, extent, unflattened
from smelt.codegen.schedule.rewrite import Body, simplified, with_bodies, with_buffers
from smelt.ir import scalar
from smelt.ir.dtypes import DType
from smelt.ir.index import Ranges
from smelt.ir.loop.builder import (
    Names,
    allocated,
    below,
    divided_up,
    for_nest,
    guarded,
    load,
    local,
    loop,
    names_in,
    plus,
    store,
    times,
)
from smelt.ir.loop.grammar import (
    Accumulate,
    Alloc,
    Barrier,
    Buffer,
    Check,
    Comment,
    For,
    If,
    Kernel,
    Kind,
    Let,
    Space,
    Stmt,
    Store,
    row_major_buffer,
    walk,
)
from smelt.ir.scalar import Expr, Load, Var, integer
from smelt.ir.structured import monoid

THREADS = 256
"""Threads of a block that computes points."""

ROW_THREADS = 128
"""Threads of a block that computes a row; a power of two."""

TILE = 16
"""Rows and columns of the result that a block of a product computes."""

SHARED_BYTES = 48 * 1024


def schedule_kernel(kernel: Kernel) -> Kernel:
    """Return a kernel whose top statements are loops over blocks."""
    names = names_in(kernel)
    ranges: Ranges = {Var(n): (0, None) for n in kernel.sizes}
    body = _bound(simplified(kernel.body, ranges), ranges, names)
    return replace(kernel, body=simplified(body, ranges))


def _bound(body: Body, ranges: Ranges, names: Names) -> Body:
    """Bind each statement that stands alone; statements that share a name go to one thread."""
    if any(isinstance(stmt, Let | Alloc) for stmt in body):
        return _single_row(body, ranges, names)
    found: list[Stmt] = []
    for stmt in body:
        match stmt:
            case Comment():
                found.append(stmt)
            case For():
                found += _bind_nest(stmt, ranges, names)
            case _:
                found += _single_row((stmt,), ranges, names)
    return tuple(found)


def _bind_nest(first: For, ranges: Ranges, names: Names) -> Body:
    loops, body = _independent(first, ranges)
    if not loops:
        return _single_row((first,), ranges, names)
    if any(isinstance(stmt, For) for stmt in walk(body)):
        rows = _rows(loops, body, ranges, names)
        if rows is not None:
            return rows
    return _points(loops, body, names)


def _independent(first: For, ranges: Ranges) -> tuple[list[For], Body]:
    """Return the perfectly nested independent loops from the outside, and what they run."""
    loops: list[For] = []
    body: Body = (first,)
    known = dict(ranges)
    outer: set[Var] = set()
    while len(body) == 1 and isinstance(body[0], For):
        found = body[0]
        bounds = scalar.variables(found.start) | scalar.variables(found.stop)
        if not is_plain(found) or found.kind is not Kind.SERIAL or outer & bounds:
            break
        if dependence(found, known) is not Dependence.INDEPENDENT:
            break
        loops.append(found)
        known = ranges_in((replace(found, body=()),), known)
        outer.add(found.var)
        body = found.body
    return loops, body


def _flat(loops: Sequence[For]) -> Expr:
    """Return the number of iterations of all the loops together."""
    total: Expr = integer(1)
    for found in loops:
        total = times(total, found.stop)
    return total


def _at(flat: Expr, loops: Sequence[For], body: Body) -> Body:
    """Return `body` with the loops' variables bound to iteration number `flat`."""
    values: list[tuple[Var, Expr]] = []
    rest = flat
    for found in reversed(loops[1:]):
        values.append((found.var, scalar.apply("mod", rest, found.stop)))
        rest = scalar.apply("floordiv", rest, found.stop)
    values.append((loops[0].var, rest))
    for var, value in values:
        body = (Let(var, value, body),)
    return body


def _points(loops: Sequence[For], body: Body, names: Names) -> Body:
    """Give each point to a thread."""
    block, thread = names.var("block"), names.var("thread")
    total = _flat(loops)
    flat = plus(times(block, THREADS), thread)
    inside = guarded(below(flat, total), _at(flat, loops, body))
    threads = loop(thread, THREADS, inside, Kind.THREAD)
    return (loop(block, divided_up(total, THREADS), [threads], Kind.BLOCK),)


def _single_row(body: Body, ranges: Ranges, names: Names) -> Body:
    """Run statements that stand under no independent loop in one block."""
    once = loop(names.var("once"), 1, body)
    rows = _rows([once], body, ranges, names)
    if rows is not None:
        return rows
    block, thread = names.var("block"), names.var("thread")
    return (loop(block, 1, [loop(thread, 1, body, Kind.THREAD)], Kind.BLOCK),)


@dataclass
class _Row:
    """What the threads of a block that computes a row share.

    Attributes:
        thread: number of the thread.
        names: supply of names of the kernel.
        shared: buffers in the block's shared memory, in place of those that single rows had.
        partials: one buffer of a number a thread, for each dtype that is reduced.
    """

    thread: Var
    names: Names
    shared: dict[Buffer, Buffer]
    partials: dict[DType, Buffer]


def _rows(loops: Sequence[For], body: Body, ranges: Ranges, names: Names) -> Body | None:
    """Give each row to a block, or return None if its statements cannot be shared."""
    known = ranges_in([replace(found, body=()) for found in loops], ranges)
    if not _can_share(body, known, frozenset()):
        return None
    block = names.var("block")
    row = _Row(names.var("thread"), names, {}, {})
    shared = _shared(body, row, known)
    buffers = [*row.shared.values(), *row.partials.values()]
    if sum(_bytes(b) for b in buffers) > SHARED_BYTES:
        return None
    threads = loop(row.thread, ROW_THREADS, _at(block, loops, shared), Kind.THREAD)
    return (loop(block, _flat(loops), allocated(buffers, [threads]), Kind.BLOCK),)


def _bytes(buffer: Buffer) -> int:
    count = buffer.dtype.itemsize
    for size in buffer.shape:
        assert isinstance(size, int), "memory of a block has a constant size"
        count *= size
    return count


def _can_share(body: Body, ranges: Ranges, own: frozenset[Buffer]) -> bool:
    """Tell whether the loops of a row may be shared among threads.

    Each must run over independent iterations, or over ones that meet in numbers of the row's own;
    between them stand stores and bindings.
    """
    for stmt in body:
        match stmt:
            case Let(_, _, inner):
                if not _can_share(inner, ranges_in((replace(stmt, body=()),), ranges), own):
                    return False
            case Alloc(buffer, inner):
                if buffer.space is not Space.LOCAL or not _can_share(inner, ranges, own | {buffer}):
                    return False
            case For():
                if not is_plain(stmt) or stmt.kind is not Kind.SERIAL:
                    return False
                found = dependence(stmt, ranges)
                if found is Dependence.SEQUENTIAL or any(isinstance(s, Check) for s in walk(body)):
                    return False
                if found is Dependence.REDUCTION and not _reduces_into(stmt, own):
                    return False
            case Store() | Comment():
                pass
            case _:
                return False
    return True


def _reduces_into(found: For, own: frozenset[Buffer]) -> bool:
    """Tell whether a loop accumulates into single numbers of the row alone."""
    inside = {s.buffer for s in walk(found.body) if isinstance(s, Alloc)}
    targets = [s for s in walk(found.body) if isinstance(s, Accumulate) and s.buffer not in inside]
    return all(s.buffer in own and not s.buffer.shape for s in targets)


def _shared(body: Body, row: _Row, ranges: Ranges) -> Body:
    """Return the statements that each thread of a block runs for a row."""
    result: list[Stmt] = []
    for stmt in body:
        match stmt:
            case Let(_, _, inner):
                known = ranges_in((replace(stmt, body=()),), ranges)
                result.append(replace(stmt, body=_shared(inner, row, known)))
            case Alloc(buffer, inner) if buffer.shape:
                row.shared[buffer] = replace(
                    buffer, name=row.names.fresh(buffer.name), space=Space.SHARED
                )
                result += _with_buffer(_shared(inner, row, ranges), buffer, row.shared[buffer])
            case Alloc(_, inner):
                result.append(replace(stmt, body=_shared(inner, row, ranges)))
            case For():
                result += _shared_loop(stmt, row, ranges)
            case Store(buffer) if buffer.space is Space.GLOBAL:
                result.append(If(scalar.apply("eq", row.thread, integer(0)), (stmt,)))
            case _:
                result.append(stmt)
    return tuple(result)


def _with_buffer(body: Body, old: Buffer, new: Buffer) -> Body:
    return with_buffers(body, {old: new})


def _shared_loop(found: For, row: _Row, ranges: Ranges) -> Body:
    """Deal a loop's iterations out to the threads, and combine what they accumulate."""
    inside = {s.buffer for s in walk(found.body) if isinstance(s, Alloc)}
    targets: dict[Buffer, Accumulate] = {
        s.buffer: s
        for s in walk(found.body)
        if isinstance(s, Accumulate) and not s.buffer.shape and s.buffer not in inside
    }
    parts = {b: replace(b, name=row.names.fresh(f"{b.name}_part")) for b in targets}
    own = _accumulating_into(found.body, parts)
    dealt = replace(found, start=row.thread, step=ROW_THREADS, body=own)
    begin = [Store(parts[b], (), monoid(s.op, b.dtype).identity[0]) for b, s in targets.items()]
    ends = [e for b, s in targets.items() for e in _combined(s, parts[b], row)]
    # What other threads wrote is read after a barrier alone.
    return allocated(list(parts.values()), [*begin, dealt, Barrier(), *ends])


def _accumulating_into(body: Body, parts: dict[Buffer, Buffer]) -> Body:
    def visit(stmt: Stmt) -> Stmt:
        if isinstance(stmt, Accumulate) and stmt.buffer in parts:
            return replace(stmt, buffer=parts[stmt.buffer])
        return with_bodies(stmt, lambda inner: tuple(visit(s) for s in inner))

    return tuple(visit(s) for s in body)


def _combined(target: Accumulate, part: Buffer, row: _Row) -> Body:
    """Add up the threads' parts by halves; each thread gets the sum."""
    dtype = part.dtype
    if dtype not in row.partials:
        name = row.names.fresh(f"partial_{dtype.name}")
        row.partials[dtype] = row_major_buffer(name, dtype, (ROW_THREADS,), Space.SHARED)
    partial, t = row.partials[dtype], row.thread
    steps: list[Stmt] = [store(partial, (t,), Load(part, ())), Barrier()]
    width = ROW_THREADS // 2
    while width:
        other = load(partial, plus(t, width))
        add = Accumulate(partial, (t,), target.op, other)
        steps += [If(below(t, width), (add,)), Barrier()]
        width //= 2
    total = Accumulate(target.buffer, target.index, target.op, load(partial, 0))
    return (*steps, total, Barrier())


@dataclass(frozen=True)
class _Side:
    """A position along a group of axes of a product.

    Attributes:
        flat: its number.
        axes: the group.
    """

    flat: Expr
    axes: tuple[Axis, ...]

    def point(self) -> dict[Expr, Expr]:
        """Return what each variable of the group is."""
        return unflattened(self.flat, self.axes)

    def inside(self) -> Expr:
        """Return whether there is such a position."""
        return below(self.flat, scalar.of_dim(extent(self.axes)))


def contract(contraction: Contraction, names: Names) -> tuple[Stmt, ...]:
    """Return a product by tiles: a block computes 16 × 16 results from tiles in shared memory.

    (NVIDIA, "CUDA C++ Programming Guide", section on shared memory.)
    """
    c = contraction
    batch, row_tile, column_tile = (names.var(n) for n in ("batch", "row_tile", "column_tile"))
    i, j, p, q = (names.var(n) for n in ("i", "j", "p", "q"))
    a, b = (
        row_major_buffer(names.fresh(n), c.accumulator, (TILE, TILE), Space.SHARED)
        for n in ("a_tile", "b_tile")
    )
    acc = local(names.fresh("acc"), c.accumulator, ())
    rows, columns, depth = (scalar.of_dim(extent(axes)) for axes in (c.m, c.n, c.k))
    m, n = plus(times(row_tile, TILE), i), plus(times(column_tile, TILE), j)
    outer = unflattened(batch, c.batch)
    zero = scalar.Const(0.0 if c.accumulator.is_floating_point else 0, c.accumulator)

    def fill(tile: Buffer, factor: Expr, first: _Side, second: _Side) -> Stmt:
        values = {**outer, **first.point(), **second.point()}
        value = scalar.cast(scalar.substitute(factor, values), c.accumulator)
        inside = scalar.apply("and", first.inside(), second.inside())
        return If(inside, (store(tile, (i, j), value),), (store(tile, (i, j), zero),))

    left = fill(a, c.left, _Side(m, c.m), _Side(plus(p, j), c.k))
    right = fill(b, c.right, _Side(n, c.n), _Side(plus(p, i), c.k))
    product = scalar.apply("mul", load(a, i, q), load(b, q, j))
    add = loop(q, TILE, [Accumulate(acc, (), "add", product)], Kind.UNROLL)
    panels = loop(p, depth, [left, right, Barrier(), add, Barrier()], step=TILE)
    point = {**outer, **unflattened(m, c.m), **unflattened(n, c.n)}
    inside = scalar.apply("and", below(m, rows), below(n, columns))
    done = If(inside, tuple(c.epilogue(point, Load(acc, ()))))
    thread = allocated([acc], [Store(acc, (), zero), panels, done])
    threads = for_nest([(i, TILE), (j, TILE)], thread, Kind.THREAD)
    blocks = [
        (batch, scalar.of_dim(extent(c.batch))),
        (row_tile, divided_up(rows, TILE)),
        (column_tile, divided_up(columns, TILE)),
    ]
    return for_nest(blocks, allocated([a, b], threads), Kind.BLOCK)
