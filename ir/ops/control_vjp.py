"""The vjp rules of control flow: each applies a region op over backward graphs of the regions.

Nothing is saved inside of a region; the backward graphs compute it again. What builds graphs needs
the registry, which is made of this module, and so it is imported where it is used.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from smelt.ir.graph import Graph, Value
from smelt.ir.op import Operand, Rules, Saved

Cotangents = tuple[Operand | None, ...]


def _given(cotangents: Cotangents) -> tuple[tuple[bool, ...], tuple[Operand, ...]]:
    return tuple(g is not None for g in cotangents), tuple(g for g in cotangents if g is not None)


def _placed(results: tuple[Operand, ...], needs: tuple[bool, ...]) -> Cotangents:
    """Return `results` at the places that are needed, None elsewhere."""
    found = iter(results)
    return tuple(next(found) if needed else None for needed in needs)


def checkpoint_vjp(r: Rules, saved: Saved, *cotangents: Operand | None) -> Cotangents:
    """Compute region(xs) again: gxs = checkpoint[backward of region](xs, gys)."""
    from smelt.ir.differentiate import backward_graph

    given, seeds = _given(cotangents)
    (region,) = saved.regions
    backward = backward_graph(region, given, saved.needs, f"{region.name}_backward")
    return _placed(r("checkpoint", *saved["xs"], *seeds, regions=(backward,)), saved.needs)


def cond_vjp(r: Rules, saved: Saved, *cotangents: Operand | None) -> Cotangents:
    """Take the same way back: gxs = cond[backward of then, backward of else](p, xs, gys)."""
    from smelt.ir.differentiate import backward_graph

    given, seeds = _given(cotangents)
    needs = saved.needs[1:]
    regions = tuple(
        backward_graph(region, given, needs, f"{region.name}_backward") for region in saved.regions
    )
    results = r("cond", saved["pred"], *saved["xs"], *seeds, regions=regions)
    return (None, *_placed(results, needs))


def custom_vjp_vjp(r: Rules, saved: Saved, *cotangents: Operand | None) -> Cotangents:
    """Apply the backward region: gxs = backward(xs, ys, gys) at the operands `wrt`."""
    from smelt.ir.builder import apply_graph
    from smelt.ir.differentiate import expand_gradients

    backward = expand_gradients(saved.regions[1])
    seeds = tuple(
        r.full_like(y, 0) if g is None else g for g, y in zip(cotangents, saved["ys"], strict=True)
    )
    values = apply_graph(r, backward, (*saved["xs"], *saved["ys"], *seeds))
    found: list[Operand | None] = [None] * len(saved.needs)
    for position, value in zip(saved.attrs.wrt, backward.outputs, strict=True):
        found[position] = values[value]
    return tuple(found)


def scan_vjp(r: Rules, saved: Saved, *cotangents: Operand | None) -> Cotangents:
    """Pull cotangents back through a scan.

    forward:  c[t+1], y[t] = body(c[t], x[t], k)
    backward: a scan from the last step to the first, whose carry is the cotangent of c and the sum
    of the cotangents of k, over x, the cotangents of y, and the c that a forward scan collects.
    """
    carried, scanned = saved.attrs.carried, saved.attrs.scanned
    xs, (body,) = saved["xs"], saved.regions
    sequences, captures = xs[carried : carried + scanned], xs[carried + scanned :]
    length = saved.attrs.length
    history = r(
        "scan", *xs, regions=(_with_history(body, carried),),
        carried=carried, length=length, scanned=scanned,
    )[carried:]  # fmt: skip

    parts = _parts(saved, _given(cotangents)[0])
    carry_seeds = tuple(
        r.full_like(xs[k], 0.0) if cotangents[k] is None else cotangents[k] for k in parts.carries
    )
    sums = tuple(r.full_like(captures[k], 0.0) for k in parts.captures)
    seeds = tuple(cotangents[carried + k] for k in parts.stacked)
    from_the_end = tuple(r("flip", s, dims=(0,)) for s in (*history, *sequences, *seeds))
    results = r(
        "scan", *carry_seeds, *sums, *from_the_end, *captures,
        regions=(_backward_body(body, carried, scanned, parts),),
        carried=len(carry_seeds) + len(sums), length=length, scanned=len(from_the_end),
    )  # fmt: skip

    found: list[Operand | None] = [None] * len(xs)
    places = iter(results)
    for k in parts.carries:
        found[k] = next(places)
    for k in parts.captures:
        found[carried + scanned + k] = next(places)
    for k in parts.sequences:
        found[carried + k] = r("flip", next(places), dims=(0,))
    return tuple(g if needed else None for g, needed in zip(found, saved.needs))


@dataclass(frozen=True)
class _Parts:
    """Which operands and results of a scan take part in its backward scan.

    Attributes:
        carries: numbers of the carries that have cotangents.
        sequences: numbers of the scanned operands whose cotangent is wanted.
        captures: numbers of the captures whose cotangent is wanted.
        stacked: numbers of the stacked results whose cotangent is given.
    """

    carries: tuple[int, ...]
    sequences: tuple[int, ...]
    captures: tuple[int, ...]
    stacked: tuple[int, ...]


def _parts(saved: Saved, given: tuple[bool, ...]) -> _Parts:
    from smelt.ir.differentiate import is_differentiable

    carried, needs = saved.attrs.carried, saved.needs
    first = carried + saved.attrs.scanned
    return _Parts(
        tuple(k for k, x in enumerate(saved.input_types[:carried]) if is_differentiable(x)),
        tuple(k for k, needed in enumerate(needs[carried:first]) if needed),
        tuple(k for k, needed in enumerate(needs[first:]) if needed),
        tuple(k for k, has in enumerate(given[carried:]) if has),
    )


def _with_history(body: Graph, carried: int) -> Graph:
    """Return the body of a scan that gives, instead of its own, the carry before each step."""
    from smelt.ir.builder import copy_graph

    outputs = (*body.outputs[:carried], *body.inputs[:carried])
    return copy_graph(Graph(f"{body.name}_history", body.inputs, body.nodes, outputs))


def _backward_body(body: Graph, carried: int, scanned: int, parts: _Parts) -> Graph:
    """Return the body of the backward scan.

    It takes (cotangents of the carry, sums for the captures; the carry of the step, the scanned
    slices, cotangents of the stacked results; captures).
    """
    from smelt.ir.builder import GraphBuilder, apply_graph
    from smelt.ir.differentiate import differentiate, expand_gradients

    body = expand_gradients(body)
    slices, captures = body.inputs[carried : carried + scanned], body.inputs[carried + scanned :]
    builder = GraphBuilder(f"{body.name}_backward")

    def parameters(values: Sequence[Value]) -> list[Value]:
        return [builder.input(v.type, v.name) for v in values]

    last = [body.outputs[k] for k in parts.carries]
    stacked = [body.outputs[carried + k] for k in parts.stacked]
    wanted = [captures[k] for k in parts.captures]
    carry_seeds, sums = parameters(last), parameters(wanted)
    step = parameters(body.inputs[: carried + scanned])
    seeds = parameters(stacked)
    values: dict[Value, Operand] = apply_graph(builder, body, [*step, *parameters(captures)])
    wrt = [*(body.inputs[k] for k in parts.carries), *wanted, *(slices[k] for k in parts.sequences)]
    found = differentiate(
        builder, body.nodes, values, [*last, *stacked], [*carry_seeds, *seeds], wrt
    )
    count = len(last)
    totals = [builder("add", total, part) for total, part in zip(sums, found[count:])]
    return builder.finish([*found[:count], *totals, *found[count + len(sums) :]])
