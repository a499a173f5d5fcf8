"""Control flow and differentiation boundaries: ops that own graphs.

What a region reads is an input of it: captures are explicit operands.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from smelt.ir import dtypes
from smelt.ir.dim import Dim, same
from smelt.ir.errors import ArgumentError, TypeInferenceError
from smelt.ir.graph import Graph
from smelt.ir.op import NoAttrs, NoVjp, OpDef, Region, Sample, Vjp
from smelt.ir.ops.control_vjp import checkpoint_vjp, cond_vjp, custom_vjp_vjp, scan_vjp
from smelt.ir.types import TensorType

Run = Callable[..., tuple[Any, ...]]
Types = tuple[TensorType, ...]


@dataclass(frozen=True, slots=True)
class WhileAttrs:
    """Attributes of `while_loop`.

    Attributes:
        carried: how many operands are the loop's state; the others are captured.
    """

    carried: int


@dataclass(frozen=True, slots=True)
class ScanAttrs:
    """Attributes of `scan`.

    Attributes:
        carried: how many operands are the loop's state.
        length: number of steps.
        scanned: how many of the following operands are read one slice a step, along their first
            dimension; the rest are captured.
    """

    carried: int
    length: int | Dim
    scanned: int = 0


@dataclass(frozen=True, slots=True)
class CustomVjpAttrs:
    """Attributes of `custom_vjp`.

    Attributes:
        wrt: numbers of the operands to which the backward region gives a cotangent.
    """

    wrt: tuple[int, ...]


def _listed(types: Types) -> str:
    return f"({', '.join(map(str, types))})"


def _require_regions(op: str, regions: tuple[Graph, ...], *names: str) -> None:
    if len(regions) != len(names):
        raise TypeInferenceError(f"{op}: owns the graphs {', '.join(names)}; got {len(regions)}")


def _require_inputs(op: str, name: str, region: Graph, expected: Types) -> None:
    found = tuple(v.type for v in region.inputs)
    if found != expected:
        raise TypeInferenceError(
            f"{op}: the {name} region must take {_listed(expected)}; it takes {_listed(found)}"
        )


def _require_outputs(op: str, name: str, region: Graph, expected: Types) -> None:
    found = _outputs(region)
    if found != expected:
        raise TypeInferenceError(
            f"{op}: the {name} region must give {_listed(expected)}; it gives {_listed(found)}"
        )


def _outputs(region: Graph) -> Types:
    return tuple(v.type for v in region.outputs)


def _cond_infer(
    attrs: NoAttrs, pred: TensorType, *xs: TensorType, regions: tuple[Graph, ...]
) -> Types:
    _require_regions("cond", regions, "then", "else")
    if pred != TensorType(dtypes.bool_, ()):
        raise TypeInferenceError(f"cond: pred must be bool[]; it is {pred}")
    _require_inputs("cond", "then", regions[0], xs)
    _require_inputs("cond", "else", regions[1], xs)
    _require_outputs("cond", "else", regions[1], _outputs(regions[0]))
    return _outputs(regions[0])


def _cond_evaluate(
    run: Run, attrs: NoAttrs, regions: tuple[Graph, ...], pred: Any, *xs: Any
) -> tuple[Any, ...]:
    return run(regions[0] if bool(pred) else regions[1], xs)


def _cond_samples() -> Iterable[Sample]:
    then = """graph then(%x: f32[3], %y: f32[3]) {
      %s: f32[3] = mul(%x, %y)
      return %s
    }"""
    other = """graph else(%x: f32[3], %y: f32[3]) {
      %s: f32[3] = neg(%x)
      return %s
    }"""
    x = np.array([1.0, -2.0, 3.0], np.float32)
    for pred in (True, False):
        yield Sample((np.array(pred), x, x[::-1]), {}, (then, other))


def _while_infer(attrs: WhileAttrs, *xs: TensorType, regions: tuple[Graph, ...]) -> Types:
    _require_regions("while_loop", regions, "test", "body")
    if not 0 <= attrs.carried <= len(xs):
        raise ArgumentError(f"while_loop: carried is {attrs.carried} of {len(xs)} operands")
    _require_inputs("while_loop", "test", regions[0], xs)
    _require_inputs("while_loop", "body", regions[1], xs)
    _require_outputs("while_loop", "test", regions[0], (TensorType(dtypes.bool_, ()),))
    _require_outputs("while_loop", "body", regions[1], xs[: attrs.carried])
    return xs[: attrs.carried]


def _while_evaluate(
    run: Run, attrs: WhileAttrs, regions: tuple[Graph, ...], *xs: Any
) -> tuple[Any, ...]:
    state, captured = xs[: attrs.carried], xs[attrs.carried :]
    while bool(run(regions[0], (*state, *captured))[0]):
        state = run(regions[1], (*state, *captured))
    return state


def _while_samples() -> Iterable[Sample]:
    test = """graph test(%i: i64[], %x: f32[2], %n: i64[]) {
      %t: bool[] = lt(%i, %n)
      return %t
    }"""
    body = """graph body(%i: i64[], %x: f32[2], %n: i64[]) {
      %one: i64[] = full() {value=1, dtype=i64, shape=()}
      %j: i64[] = add(%i, %one)
      %y: f32[2] = add(%x, %x)
      return %j, %y
    }"""
    x = np.array([1.0, -0.5], np.float32)
    for steps in (0, 1, 5):
        operands = (np.array(0), x, np.array(steps))
        yield Sample(operands, {"carried": 2}, (test, body), differentiable=False)


def _scan_infer(attrs: ScanAttrs, *xs: TensorType, regions: tuple[Graph, ...]) -> Types:
    _require_regions("scan", regions, "body")
    carried, scanned = attrs.carried, attrs.scanned
    if carried < 0 or scanned < 0 or carried + scanned > len(xs):
        raise ArgumentError(
            f"scan: carried is {carried} and scanned {scanned} of {len(xs)} operands"
        )
    for k, x in enumerate(xs[carried : carried + scanned], carried):
        if x.rank == 0 or not same(x.shape[0], attrs.length):
            raise TypeInferenceError(
                f"scan: the first dimension of xs[{k}] must be {attrs.length}; its type is {x}"
            )
    slices = tuple(x.with_shape(x.shape[1:]) for x in xs[carried : carried + scanned])
    expected = (*xs[:carried], *slices, *xs[carried + scanned :])
    _require_inputs("scan", "body", regions[0], expected)
    found = _outputs(regions[0])
    if found[:carried] != xs[:carried]:
        raise TypeInferenceError(
            f"scan: the body must give the carry {_listed(xs[:carried])} first; "
            f"it gives {_listed(found)}"
        )
    stacked = tuple(y.with_shape((attrs.length, *y.shape)) for y in found[carried:])
    return (*found[:carried], *stacked)


def _scan_evaluate(
    run: Run, attrs: ScanAttrs, regions: tuple[Graph, ...], *xs: Any
) -> tuple[Any, ...]:
    (body,) = regions
    first = attrs.carried + attrs.scanned
    state, sequences, captured = xs[: attrs.carried], xs[attrs.carried : first], xs[first:]
    assert isinstance(attrs.length, int), "a graph is specialised before it is run"
    rows: list[tuple[Any, ...]] = []
    for step in range(attrs.length):
        results = run(body, (*state, *(s[step] for s in sequences), *captured))
        state = results[: attrs.carried]
        rows.append(results[attrs.carried :])
    stacked: list[Any] = []
    for k, value in enumerate(body.outputs[attrs.carried :]):
        out = np.empty((attrs.length, *value.type.sizes), value.type.dtype.numpy)
        for step, row in enumerate(rows):
            out[step] = row[k]
        stacked.append(out)
    return (*state, *stacked)


def _scan_samples() -> Iterable[Sample]:
    body = """graph body(%c: f32[2], %x: f32[2], %w: f32[2]) {
      %p: f32[2] = mul(%c, %w)
      %s: f32[2] = add(%p, %x)
      %y: f32[2] = mul(%s, %s)
      return %s, %y
    }"""
    start, weight = np.array([0.5, -1.0], np.float32), np.array([0.9, 0.3], np.float32)
    rows = np.arange(8, dtype=np.float32).reshape(4, 2) / 4
    for xs in (rows, rows[:1], rows[:0], rows[::2]):
        attrs = {"carried": 1, "length": len(xs), "scanned": 1}
        yield Sample((start, xs, weight), attrs, (body,))


def _checkpoint_infer(attrs: NoAttrs, *xs: TensorType, regions: tuple[Graph, ...]) -> Types:
    _require_regions("checkpoint", regions, "body")
    _require_inputs("checkpoint", "body", regions[0], xs)
    return _outputs(regions[0])


def _run_first(run: Run, attrs: object, regions: tuple[Graph, ...], *xs: Any) -> tuple[Any, ...]:
    return run(regions[0], xs)


def _checkpoint_samples() -> Iterable[Sample]:
    body = """graph body(%x: f32[2,2]) {
      %s: f32[2,2] = mul(%x, %x)
      %t: f32[2,2] = mul(%s, %x)
      return %t, %s
    }"""
    yield Sample((np.array([[1.0, -0.5], [2.0, 0.0]], np.float32).T,), {}, (body,))


def _custom_vjp_infer(attrs: CustomVjpAttrs, *xs: TensorType, regions: tuple[Graph, ...]) -> Types:
    _require_regions("custom_vjp", regions, "forward", "backward")
    if any(not 0 <= k < len(xs) for k in attrs.wrt) or len(set(attrs.wrt)) != len(attrs.wrt):
        raise ArgumentError(
            f"custom_vjp: wrt must name different operands, of {len(xs)}; it is {attrs.wrt}"
        )
    _require_inputs("custom_vjp", "forward", regions[0], xs)
    ys = _outputs(regions[0])
    _require_inputs("custom_vjp", "backward", regions[1], (*xs, *ys, *ys))
    _require_outputs("custom_vjp", "backward", regions[1], tuple(xs[k] for k in attrs.wrt))
    return ys


def _custom_vjp_samples() -> Iterable[Sample]:
    forward = """graph forward(%x: f32[2], %w: f32[2]) {
      %y: f32[2] = mul(%x, %w)
      return %y
    }"""
    backward = """graph backward(%x: f32[2], %w: f32[2], %y: f32[2], %g: f32[2]) {
      %gx: f32[2] = mul(%g, %w)
      %gw: f32[2] = mul(%g, %x)
      return %gx, %gw
    }"""
    x, w = np.array([1.5, -2.0], np.float32), np.array([0.5, 3.0], np.float32)
    yield Sample((x, w), {"wrt": (0, 1)}, (forward, backward))


OPS: tuple[OpDef, ...] = (
    OpDef(
        name="cond",
        doc="ys = then(xs) if pred else else(xs)",
        operands=("pred", "*xs"),
        results=("*ys",),
        infer=_cond_infer,
        rule=Region(_cond_evaluate),
        vjp=Vjp(("pred", "xs"), cond_vjp),
        samples=_cond_samples,
    ),
    OpDef(
        name="while_loop",
        doc="state = xs[:carried]; while test(state, captures): state = body(state, captures)",
        operands=("*xs",),
        attrs=WhileAttrs,
        results=("*ys",),
        infer=_while_infer,
        rule=Region(_while_evaluate),
        vjp=NoVjp("it does not know how often it will run; use scan", zero=False),
        samples=_while_samples,
    ),
    OpDef(
        name="scan",
        doc="carry, y[t] = body(carry, x[t], captures) for t < length; gives the carry and y",
        operands=("*xs",),
        attrs=ScanAttrs,
        results=("*ys",),
        infer=_scan_infer,
        rule=Region(_scan_evaluate),
        vjp=Vjp(("xs",), scan_vjp),
        samples=_scan_samples,
    ),
    OpDef(
        name="checkpoint",
        doc="ys = body(xs), computed again for the backward rather than saved",
        operands=("*xs",),
        results=("*ys",),
        infer=_checkpoint_infer,
        rule=Region(_run_first),
        vjp=Vjp(("xs",), checkpoint_vjp),
        samples=_checkpoint_samples,
    ),
    OpDef(
        name="custom_vjp",
        doc="ys = forward(xs); its vjp is backward(xs, ys, cotangents of ys)",
        operands=("*xs",),
        attrs=CustomVjpAttrs,
        results=("*ys",),
        infer=_custom_vjp_infer,
        rule=Region(_run_first),
        vjp=Vjp(("xs", "ys"), custom_vjp_vjp),
        samples=_custom_vjp_samples,
    ),
)
