"""Windows, indexing, networks, losses and optimisers against PyTorch, on the ops' own samples.

For each op with a twin in PyTorch: the same values, and the same gradients for one set of
cotangents, from the registry's samples.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from smelt.ir import registry
from smelt.ir.evaluate import evaluate
from smelt.ir.op import NoVjp, OpDef, Sample

torch = pytest.importorskip("torch")

from tests.parity.twins import (  # noqa: E402
    Twin,
    check_gradients,
    check_values,
    to_numpy,
    to_torch,
)

F = torch.nn.functional

Attrs = Mapping[str, Any]


def _conv(a: Attrs, x: Any, w: Any) -> Any:
    return (F.conv1d, F.conv2d, F.conv3d)[x.ndim - 3](x, w, None, **a)


def _conv_transpose(a: Attrs, x: Any, w: Any) -> Any:
    rank = x.ndim - 3
    return (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)[rank](x, w, None, **a)


def _conv_input_grad(a: Attrs, g: Any, w: Any) -> Any:
    window = {k: v for k, v in a.items() if k != "input_shape"}
    shape = (g.shape[0], w.shape[1] * a["groups"], *a["input_shape"])
    x = torch.zeros(shape, dtype=g.dtype, requires_grad=True)
    out = _conv(window, x, w)
    return torch.autograd.grad(out, x, g, create_graph=True)[0]


def _conv_weight_grad(a: Attrs, x: Any, g: Any) -> Any:
    window = {k: v for k, v in a.items() if k != "kernel"}
    shape = (g.shape[1], x.shape[1] // a["groups"], *a["kernel"])
    w = torch.zeros(shape, dtype=g.dtype, requires_grad=True)
    return torch.autograd.grad(_conv(window, x, w), w, g, create_graph=True)[0]


def _max_pool(a: Attrs, x: Any) -> Any:
    pool = (F.max_pool1d, F.max_pool2d, F.max_pool3d)[x.ndim - 3]
    window = {k: v for k, v in a.items() if k != "kernel"}
    return pool(x, a["kernel"], return_indices=True, **window)


def _avg_pool(a: Attrs, x: Any) -> Any:
    pool = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)[x.ndim - 3]
    names = {"divisor": "divisor_override"}
    window = {names.get(k, k): v for k, v in a.items() if k != "kernel"}
    return pool(x, a["kernel"], **window)


def _adaptive_avg(a: Attrs, x: Any) -> Any:
    return (F.adaptive_avg_pool1d, F.adaptive_avg_pool2d, F.adaptive_avg_pool3d)[x.ndim - 3](
        x, a["output"] if x.ndim > 3 else a["output"][0]
    )


def _adaptive_max(a: Attrs, x: Any) -> Any:
    pool = (F.adaptive_max_pool1d, F.adaptive_max_pool2d, F.adaptive_max_pool3d)[x.ndim - 3]
    return pool(x, a["output"] if x.ndim > 3 else a["output"][0], return_indices=True)


def _index(a: Attrs, x: Any, *indices: Any) -> Any:
    dims = a["dims"]
    rest = [d for d in range(x.ndim) if d not in dims]
    return x.permute(*dims, *rest)[indices]


def _index_put(a: Attrs, x: Any, values: Any, *indices: Any) -> Any:
    dims = a["dims"]
    order = [*dims, *(d for d in range(x.ndim) if d not in dims)]
    back = [order.index(d) for d in range(x.ndim)]
    put = x.permute(order).index_put(indices, values, accumulate=a.get("accumulate", False))
    return put.permute(back)


def _attention(a: Attrs, q: Any, k: Any, v: Any, *mask: Any) -> Any:
    chosen = mask[0] if mask else None
    return F.scaled_dot_product_attention(
        q, k, v, attn_mask=chosen, is_causal=a["causal"], scale=a["scale"]
    )


def _trailing(norm: Twin) -> Twin:
    def twin(a: Attrs, x: Any, *affine: Any) -> Any:
        return norm(x, x.shape[x.ndim - a["dims"] :], *affine, eps=a.get("eps", 1e-5))

    return twin


def _pair(affine: tuple[Any, ...]) -> tuple[Any, Any]:
    weight, bias = (*affine, None, None)[:2]
    return weight, bias


def _batch_norm(a: Attrs, x: Any, *affine: Any) -> Any:
    dims = (0, *range(2, x.ndim))
    out = F.batch_norm(x, None, None, *_pair(affine), training=True, eps=a["eps"])
    work = x.float() if x.itemsize == 2 else x
    return out, work.mean(dims), work.var(dims, correction=0)


def _batch_norm_inference(a: Attrs, x: Any, mean: Any, var: Any, *affine: Any) -> Any:
    return F.batch_norm(x, mean, var, *_pair(affine), eps=a.get("eps", 1e-5))


def _group_norm(a: Attrs, x: Any, *affine: Any) -> Any:
    return F.group_norm(x, a["groups"], *_pair(affine), eps=a.get("eps", 1e-5))


def _class_loss(loss: Twin) -> Twin:
    def twin(a: Attrs, x: Any, target: Any, *weight: Any) -> Any:
        return loss(x, target, *weight, **a)

    return twin


def _plain_loss(loss: Twin) -> Twin:
    return lambda a, x, y: loss(x, y, **a)


def _bce_with_logits(a: Attrs, x: Any, y: Any, *weight: Any) -> Any:
    return F.binary_cross_entropy_with_logits(x, y, pos_weight=weight[0] if weight else None, **a)


TWINS: dict[str, Twin] = {
    "conv": _conv,
    "conv_input_grad": _conv_input_grad,
    "conv_weight_grad": _conv_weight_grad,
    "conv_transpose": _conv_transpose,
    "max_pool": _max_pool,
    "avg_pool": _avg_pool,
    "adaptive_avg_pool": _adaptive_avg,
    "adaptive_max_pool": _adaptive_max,
    "embedding": lambda a, w, i: F.embedding(i, w, a.get("padding_idx")),
    "gather": lambda a, x, i: torch.gather(x, a["dim"], i),
    "index_select": lambda a, x, i: torch.index_select(x, a["dim"], i),
    "index": _index,
    "one_hot": lambda a, i: F.one_hot(i, a["classes"]),
    "scatter": lambda a, x, i, s: torch.scatter(x, a["dim"], i, s),
    "scatter_add": lambda a, x, i, s: torch.scatter_add(x, a["dim"], i, s),
    "index_add": lambda a, x, i, s: torch.index_add(x, a["dim"], i, s),
    "index_put": _index_put,
    "softmax": lambda a, x: F.softmax(x, a["dim"]),
    "log_softmax": lambda a, x: F.log_softmax(x, a["dim"]),
    "scaled_dot_product_attention": _attention,
    "layer_norm": _trailing(F.layer_norm),
    "rms_norm": _trailing(F.rms_norm),
    "batch_norm": _batch_norm,
    "batch_norm_inference": _batch_norm_inference,
    "group_norm": _group_norm,
    "nll_loss": _class_loss(F.nll_loss),
    "cross_entropy": _class_loss(F.cross_entropy),
    "soft_cross_entropy": _class_loss(F.cross_entropy),
    "mse_loss": _plain_loss(F.mse_loss),
    "l1_loss": _plain_loss(F.l1_loss),
    "smooth_l1_loss": _plain_loss(F.smooth_l1_loss),
    "huber_loss": _plain_loss(F.huber_loss),
    "kl_div": _plain_loss(F.kl_div),
    "bce_loss": _plain_loss(F.binary_cross_entropy),
    "bce_with_logits": _bce_with_logits,
}

# Operands, by number, by which PyTorch does not differentiate.
HELD: dict[str, tuple[int, ...]] = {
    "batch_norm_inference": (1, 2),
    "bce_with_logits": (2,),
    "cross_entropy": (2,),
    "nll_loss": (2,),
    "soft_cross_entropy": (2,),
}

_MEAN_KL = "ignore:reduction. 'mean' divides the total loss by both:UserWarning"


def _taken_by_torch(op: OpDef, sample: Sample) -> bool:
    x = sample.operands[0]
    match op.name:
        case "conv" | "conv_input_grad" | "conv_weight_grad" | "conv_transpose":
            return x.size > 0
        case "max_pool":
            return x.size > 0
        case "avg_pool":
            return x.ndim > 3 or sample.attrs.get("divisor") is None
        case "adaptive_avg_pool" | "adaptive_max_pool":
            return x.size > 0
        case "nll_loss" | "cross_entropy":
            return not (x.dtype.itemsize == 2 and op.name == "nll_loss")
        case "batch_norm_inference":
            return x.dtype.name != "bfloat16"
        case _:
            return True


def _has_gradient_in_torch(op: OpDef, sample: Sample) -> bool:
    """Tell whether no place is written twice, and no part of a source is left out."""
    if op.name not in ("scatter", "scatter_add"):
        return True
    _, index, src = sample.operands
    return index.shape == src.shape and (sample.differentiable or op.name == "scatter_add")


def _samples(op: OpDef) -> list[Sample]:
    return [s for s in op.samples() if _taken_by_torch(op, s)]


@pytest.mark.filterwarnings(_MEAN_KL)
@pytest.mark.parametrize("name", sorted(TWINS))
def test_values(name: str) -> None:
    op = registry.OPS[name]
    for sample in _samples(op):
        check_values(op, sample, TWINS[name])


@pytest.mark.filterwarnings(_MEAN_KL)
@pytest.mark.parametrize(
    "name", [n for n in sorted(TWINS) if not isinstance(registry.OPS[n].vjp, NoVjp)]
)
def test_gradients(name: str) -> None:
    op = registry.OPS[name]
    for sample in _samples(op):
        if _has_gradient_in_torch(op, sample):
            check_gradients(op, sample, TWINS[name], HELD.get(name, ()))


def _steps(optimiser: Callable[[list[Any]], Any], start: Any, gradients: list[Any]) -> list[Any]:
    """Return PyTorch's parameter after each step from the given gradients."""
    p = to_torch(start).clone().requires_grad_()
    driver = optimiser([p])
    found: list[Any] = []
    for g in gradients:
        p.grad = to_torch(g)
        driver.step()
        found.append(to_numpy(p).copy())
    return found


def _trajectory() -> tuple[Any, list[Any]]:
    draw = np.random.default_rng(3)
    start = draw.normal(size=(4, 5)).astype(np.float32)
    return start, [draw.normal(size=(4, 5)).astype(np.float32) for _ in range(12)]


def _scalar(value: float) -> np.ndarray[Any, Any]:
    return np.asarray(value, np.float64)


# PyTorch refuses Nesterov momentum with dampening.
@pytest.mark.parametrize("nesterov, dampening", [(False, 0.0), (False, 0.3), (True, 0.0)])
@pytest.mark.parametrize("maximize", [False, True])
def test_sgd_follows_torch(nesterov: bool, dampening: float, maximize: bool) -> None:
    start, gradients = _trajectory()
    expected = _steps(
        lambda ps: torch.optim.SGD(
            ps, lr=0.1, momentum=0.9, dampening=dampening, weight_decay=0.02,
            nesterov=nesterov, maximize=maximize, foreach=False,
        ),
        start,
        gradients,
    )  # fmt: skip
    op = registry.OPS["sgd_step"]
    attrs = op.attrs(nesterov=nesterov, maximize=maximize)
    scalars = tuple(_scalar(v) for v in (0.1, 0.9, dampening, 0.02))
    p, buffer = start, ()
    for g, theirs in zip(gradients, expected):
        p, new = evaluate(op, attrs, (p, g, *scalars, *buffer))
        buffer = (new,)
        np.testing.assert_allclose(p, theirs, rtol=2e-6, atol=1e-7)


def test_plain_sgd_follows_torch() -> None:
    start, gradients = _trajectory()
    expected = _steps(
        lambda ps: torch.optim.SGD(ps, lr=0.1, weight_decay=0.02, foreach=False), start, gradients
    )
    op, p = registry.OPS["sgd_plain_step"], start
    for g, theirs in zip(gradients, expected):
        (p,) = evaluate(op, op.attrs(), (p, g, _scalar(0.1), _scalar(0.02)))
        np.testing.assert_allclose(p, theirs, rtol=2e-6, atol=1e-7)


@pytest.mark.parametrize("amsgrad", [False, True])
@pytest.mark.parametrize("decoupled", [False, True])
@pytest.mark.parametrize("maximize", [False, True])
def test_adam_follows_torch(amsgrad: bool, decoupled: bool, maximize: bool) -> None:
    start, gradients = _trajectory()
    kind = torch.optim.AdamW if decoupled else torch.optim.Adam
    expected = _steps(
        lambda ps: kind(
            ps, lr=0.01, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.02,
            amsgrad=amsgrad, maximize=maximize, foreach=False,
        ),
        start,
        gradients,
    )  # fmt: skip
    op = registry.OPS["adam_step"]
    attrs = op.attrs(amsgrad=amsgrad, decoupled=decoupled, maximize=maximize)
    scalars = tuple(_scalar(v) for v in (0.01, 0.9, 0.999, 1e-8, 0.02))
    zero = np.zeros_like(start)
    p, m, v, step, *vmax = start, zero, zero, np.asarray(0.0, np.float32), *((zero,) * amsgrad)
    for g, theirs in zip(gradients, expected):
        p, m, v, step, *vmax = evaluate(op, attrs, (p, g, m, v, step, *scalars, *vmax))
        np.testing.assert_allclose(p, theirs, rtol=2e-6, atol=1e-7)
