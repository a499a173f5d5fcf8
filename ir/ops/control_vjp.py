"""The vjp rules of control flow: each applies a region op over backward graphs of the regions.

Nothing is saved inside of a region; the backward graphs compute it again.
"""

from __future__ import annotations

from typing import Any

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

    backward = saved.regions[1]
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

    plan = _ScanPlan(body, carried, scanned, saved.needs, _given(cotangents)[0])
    carry_seeds = tuple(
        r.full_like(xs[k], 0.0) if cotangents[k] is None else cotangents[k] for k in plan.carries
    )
    sums = tuple(r.full_like(captures[k], 0.0) for k in plan.captures)
    seeds = tuple(cotangents[carried + k] for k in plan.stacked)
    reversed_ = tuple(r("flip", s, dims=(0,)) for s in (*history, *sequences, *seeds))
    results = r(
        "scan", *carry_seeds, *sums, *reversed_, *captures, regions=(plan.backward(),),
        carried=len(carry_seeds) + len(sums), length=length, scanned=len(reversed_),
    )  # fmt: skip

    found: list[Operand | None] = [None] * len(xs)
    places = iter(results)
    for k in plan.carries:
        found[k] = next(places)
    for k in plan.captures:
        found[carried + scanned + k] = next(places)
    for k in plan.sequences:
        found[carried + k] = r("flip", next(places), dims=(0,))
    return tuple(g if needed else None for g, needed in zip(found, saved.needs))


def _with_history(body: Graph, carried: int) -> Graph:
    """Return the body of a scan that gives, instead of its own, the carry before each step."""
    from smelt.ir.builder import copy_graph

    outputs = (*body.outputs[:carried], *body.inputs[:carried])
    return copy_graph(Graph(f"{body.name}_history", body.inputs, body.nodes, outputs))


class _ScanPlan:
    """Which operands and results of a scan take part in its backward scan.

    Attributes:
        carries: numbers of the carries that have cotangents.
        sequences: numbers of the scanned operands whose cotangent is wanted.
        captures: numbers of the captures whose cotangent is wanted.
        stacked: numbers of the stacked results whose cotangent is given.
    """

    def __init__(
        self,
        body: Graph,
        carried: int,
        scanned: int,
        needs: tuple[bool, ...],
        given: tuple[bool, ...],
    ) -> None:
        from smelt.ir.differentiate import is_differentiable

        self.body, self.carried, self.scanned = body, carried, scanned
        first = carried + scanned
        self.carries = [k for k in range(carried) if is_differentiable(body.inputs[k].type)]
        self.sequences = [k for k in range(scanned) if needs[carried + k]]
        self.captures = [k for k in range(len(needs) - first) if needs[first + k]]
        self.stacked = [k for k in range(len(body.outputs) - carried) if given[carried + k]]

    def backward(self) -> Graph:
        """Return the body of the backward scan.

        It takes (cotangents of the carry, sums for the captures; the carry of the step, the
        scanned slices, cotangents of the stacked results; captures).
        """
        from smelt.ir.builder import GraphBuilder, apply_graph
        from smelt.ir.differentiate import differentiate, expand_gradients

        body = expand_gradients(self.body)
        first = self.carried + self.scanned
        builder = GraphBuilder(f"{body.name}_backward")

        def parameters(values: list[Value]) -> list[Value]:
            return [builder.input(v.type, v.name) for v in values]

        carry_seeds = parameters([body.outputs[k] for k in self.carries])
        sums = parameters([body.inputs[first + k] for k in self.captures])
        step = parameters([*body.inputs[:first]])
        stacked = [body.outputs[self.carried + k] for k in self.stacked]
        seeds = parameters(stacked)
        captures = parameters([*body.inputs[first:]])
        values: dict[Value, Any] = apply_graph(builder, body, [*step, *captures])
        wrt = (
            [body.inputs[k] for k in self.carries]
            + [body.inputs[first + k] for k in self.captures]
            + [body.inputs[self.carried + k] for k in self.sequences]
        )
        outputs = [body.outputs[k] for k in self.carries] + stacked
        found = differentiate(builder, body.nodes, values, outputs, carry_seeds + seeds, wrt)
        ends = len(self.carries), len(self.carries) + len(self.captures)
        totals = [
            builder("add", total, part) for total, part in zip(sums, found[ends[0] : ends[1]])
        ]
        return builder.finish([*found[: ends[0]], *totals, *found[ends[1] :]])
