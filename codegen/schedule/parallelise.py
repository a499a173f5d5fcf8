"""Give the outermost independent loops of a kernel to several workers, where that pays.

    for i in serial(0, 64):           for i in parallel(0, 64):
        …                        →        …

A loop shorter than a few iterations a worker is fused with the independent loop inside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from smelt.codegen.schedule.analysis import constant_extent, is_plain
from smelt.codegen.schedule.collapse import fused, product
from smelt.codegen.schedule.rewrite import Body
from smelt.codegen.target import Target
from smelt.ir.loop.builder import Names
from smelt.ir.loop.grammar import For, Kind

WORTH = 300_000
"""Cost, in scalar operations, from which a nest is given to several workers: about 20 µs."""

_SHARES = 4


def parallelised(
    loops: Sequence[For], body: Body, work: float, target: Target, names: Names
) -> Body:
    """Return independent loops, outermost first, around `body`, the outermost ones parallel.

    Args:
        loops: loops without a common dependence; their own bodies are ignored.
        body: what they run.
        work: cost of the whole nest.
        target: how many workers there are.
        names: supply of names of the kernel.
    """
    pays = work >= WORTH and target.threads > 1
    rest = list(loops)
    first = rest.pop(0) if rest else None
    inner = body
    if first is not None and pays:
        shared = [first]
        while rest and _is_short(shared, target) and _is_rectangular(shared, rest[0]):
            shared.append(rest.pop(0))
        inner = around(rest, body)
        found = replace(shared[-1], body=inner)
        for outer in reversed(shared[:-1]):
            found = fused(outer, found, names)
        return (replace(found, kind=Kind.PARALLEL),)
    return around(loops, body)


def around(loops: Sequence[For], body: Body) -> Body:
    """Return loops, outermost first, around `body`."""
    for found in reversed(loops):
        body = (replace(found, body=body),)
    return body


def _is_short(loops: Sequence[For], target: Target) -> bool:
    count = product(loops)
    return count is not None and count < _SHARES * target.threads


def _is_rectangular(loops: Sequence[For], inner: For) -> bool:
    return all(is_plain(found) and constant_extent(found) is not None for found in (*loops, inner))
