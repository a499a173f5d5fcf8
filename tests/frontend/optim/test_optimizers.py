from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import smelt
from smelt import optim
from smelt.optim import Optimizer

Array = np.ndarray[Any, Any]
Formula = Callable[[Array], Iterator[Array]]


def gradient_of(p: Array) -> Array:
    """The gradient of sum(p**4) / 4, which no fixed step solves at once."""
    return p**3


def sgd(
    p: Array,
    lr: float,
    momentum: float = 0.0,
    dampening: float = 0.0,
    decay: float = 0.0,
    nesterov: bool = False,
) -> Iterator[Array]:
    velocity = None
    while True:
        g = gradient_of(p) + decay * p
        if momentum:
            velocity = g if velocity is None else momentum * velocity + (1 - dampening) * g
            g = g + momentum * velocity if nesterov else velocity
        p = p - lr * g
        yield p


def adam(
    p: Array,
    lr: float,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    decay: float = 0.0,
    decoupled: bool = False,
    amsgrad: bool = False,
) -> Iterator[Array]:
    m, v, top, t = np.zeros_like(p), np.zeros_like(p), np.zeros_like(p), 0
    while True:
        t += 1
        g = gradient_of(p)
        if decoupled:
            p = p * (1 - lr * decay)
        else:
            g = g + decay * p
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g * g
        top = np.maximum(top, v)
        root = np.sqrt((top if amsgrad else v) / (1 - b2**t))
        p = p - lr * (m / (1 - b1**t)) / (root + eps)
        yield p


CASES: dict[str, tuple[Callable[[Any], Optimizer], Formula]] = {
    "sgd": (lambda p: optim.SGD(p, lr=0.1), lambda x: sgd(x, 0.1)),
    "sgd, momentum": (
        lambda p: optim.SGD(p, 0.1, 0.9, 0.2, 0.01),
        lambda x: sgd(x, 0.1, 0.9, 0.2, 0.01),
    ),
    "sgd, nesterov": (
        lambda p: optim.SGD(p, 0.05, momentum=0.9, nesterov=True),
        lambda x: sgd(x, 0.05, 0.9, nesterov=True),
    ),
    "adam": (
        lambda p: optim.Adam(p, 0.05, (0.8, 0.99), weight_decay=0.1),
        lambda x: adam(x, 0.05, 0.8, 0.99, decay=0.1),
    ),
    "adam, amsgrad": (
        lambda p: optim.Adam(p, 0.05, amsgrad=True),
        lambda x: adam(x, 0.05, amsgrad=True),
    ),
    "adamw": (
        lambda p: optim.AdamW(p, 0.05, weight_decay=0.1),
        lambda x: adam(x, 0.05, decay=0.1, decoupled=True),
    ),
}


def parameter(dtype: Any = None) -> Any:
    values = np.random.default_rng(1).standard_normal((3, 4))
    return smelt.tensor(values, dtype=dtype or smelt.float64, requires_grad=True)


def loss_of(p: Any) -> Any:
    return (p**4).sum() / 4


def train(optimizer: Optimizer, p: Any, steps: int) -> None:
    for _ in range(steps):
        optimizer.zero_grad()
        loss_of(p).backward()
        optimizer.step()


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_formula(name: str, dtype: str) -> None:
    make, formula = CASES[name]
    p = parameter(getattr(smelt, dtype))
    trajectory = formula(p.detach().to(smelt.float64).numpy().copy())
    optimizer = make([p])
    tolerance = 1e-12 if dtype == "float64" else 2e-5
    for _ in range(8):
        train(optimizer, p, 1)
        np.testing.assert_allclose(p.detach().numpy(), next(trajectory), rtol=tolerance)


@pytest.mark.parametrize("name", CASES)
def test_a_saved_state_goes_on_where_it_was(name: str) -> None:
    make, _ = CASES[name]
    p = parameter()
    optimizer = make([p])
    train(optimizer, p, 3)
    q = p.detach().clone().requires_grad_()
    other = make([q])
    saved = copy.deepcopy(optimizer.state_dict())
    other.load_state_dict(saved)
    train(optimizer, p, 3)
    train(other, q, 3)
    assert p.tolist() == q.tolist()
    # What was loaded is a copy.
    assert repr(saved) == repr(copy.deepcopy(saved))
    r = p.detach().clone().requires_grad_()
    copied = pickle.loads(pickle.dumps(optimizer))
    assert repr(copied) == repr(optimizer)
    assert len(copied.state) == len(optimizer.state)
    train(copied, r, 0)


def test_state_takes_the_dtype_of_the_parameter() -> None:
    p = parameter(smelt.float32)
    optimizer = optim.Adam([p])
    train(optimizer, p, 2)
    q = parameter(smelt.bfloat16)
    other = optim.Adam([q])
    other.load_state_dict(optimizer.state_dict())
    state = other.state[q]
    assert state["exp_avg"].dtype is smelt.bfloat16
    assert state["step"].dtype is smelt.float32 and state["step"].item() == 2
    assert state["exp_avg"] is not optimizer.state[p]["exp_avg"]


def test_a_tensor_may_be_the_rate() -> None:
    rate = smelt.tensor(0.1, dtype=smelt.float64)
    p, q = parameter(), parameter()
    changing, fixed = optim.SGD([p], lr=rate), optim.SGD([q], lr=0.1)
    schedules = [optim.lr_scheduler.ExponentialLR(o, 0.5) for o in (changing, fixed)]
    for _ in range(3):
        train(changing, p, 1)
        train(fixed, q, 1)
        for schedule in schedules:
            schedule.step()
    np.testing.assert_allclose(p.detach().numpy(), q.detach().numpy(), rtol=1e-12)
    assert changing.param_groups[0]["lr"] is rate and rate.item() == pytest.approx(0.0125)


def test_updates_are_in_place_and_counted() -> None:
    p = parameter()
    view, before = p.detach()[0], p._version
    train(optim.SGD([p], lr=0.1), p, 1)
    assert p._version > before
    assert view.tolist() == p[0].tolist()
    loss = loss_of(p)
    optimizer = optim.SGD([p], lr=0.1)
    loss.backward(retain_graph=True)
    optimizer.step()
    with pytest.raises(RuntimeError, match=r"modified by an inplace operation|written in place"):
        loss.backward()


def test_a_closure_is_called_with_gradients_on() -> None:
    p = parameter()
    optimizer = optim.SGD([p], lr=0.1)

    def closure() -> Any:
        assert smelt.is_grad_enabled()
        optimizer.zero_grad()
        loss = loss_of(p)
        loss.backward()
        return loss

    with smelt.no_grad():
        first = optimizer.step(closure)
    assert first is not None
    assert optimizer.step(closure).item() < first.item()
    assert optimizer.step() is None


def test_zeroing() -> None:
    p = parameter()
    optimizer = optim.SGD([p], lr=0.1)
    loss_of(p).backward()
    gradient = p.grad
    optimizer.zero_grad(set_to_none=False)
    assert p.grad is gradient and not gradient.any()
    optimizer.zero_grad()
    assert p.grad is None
    optimizer.step()  # nothing to do


def test_hooks_of_steps() -> None:
    p = parameter()
    optimizer = optim.SGD([p], lr=0.1)
    seen: list[str] = []
    before = optimizer.register_step_pre_hook(lambda o, args, kwargs: seen.append("before"))
    optimizer.register_step_post_hook(lambda o, args, kwargs: seen.append("after"))
    train(optimizer, p, 1)
    before.remove()
    before.remove()
    train(optimizer, p, 1)
    assert seen == ["before", "after", "after"]
    with optimizer.register_step_pre_hook(lambda o, args, kwargs: ((), {"closure": lambda: 7})):
        assert optimizer.step() == 7
    optimizer.register_step_pre_hook(lambda o, args, kwargs: 3)
    with pytest.raises(RuntimeError, match="step pre-hook must return"):
        optimizer.step()


def test_hooks_of_saving_and_loading() -> None:
    optimizer = optim.SGD([parameter()], lr=0.1)
    seen: list[str] = []
    optimizer.register_state_dict_pre_hook(lambda o: seen.append("second"))
    optimizer.register_state_dict_pre_hook(lambda o: seen.append("first"), prepend=True)
    optimizer.register_state_dict_post_hook(lambda o, state: {**state, "extra": 1})
    optimizer.register_load_state_dict_pre_hook(
        lambda o, state: {k: v for k, v in state.items() if k != "extra"}
    )
    optimizer.register_load_state_dict_post_hook(lambda o: seen.append("loaded"))
    saved = optimizer.state_dict()
    assert saved["extra"] == 1
    optimizer.load_state_dict(saved)
    assert seen == ["first", "second", "loaded"]


def test_an_optimizer_of_ones_own() -> None:
    class Signs(Optimizer):
        def __init__(self, params: Any, lr: float) -> None:
            super().__init__(params, {"lr": lr})

        def step(self, closure: Any = None) -> None:
            with smelt.no_grad():
                for group in self.param_groups:
                    for p in group["params"]:
                        p.sub_(p.grad.sign() * group["lr"])

    p = parameter()
    before = p.detach().clone()
    optimizer = Signs([p], 0.5)
    seen: list[int] = []
    optimizer.register_step_post_hook(lambda *_: seen.append(1))
    train(optimizer, p, 1)
    assert (before - p).abs().tolist() == [[0.5] * 4] * 3
    assert seen == [1]
    assert repr(optimizer) == "Signs (\nParameter Group 0\n    lr: 0.5\n)"


def test_named_parameters() -> None:
    p, q = parameter(), parameter()
    optimizer = optim.SGD([("first", p), ("second", q)], lr=0.1)
    assert optimizer.param_groups[0]["param_names"] == ["first", "second"]
    assert optimizer.state_dict()["param_groups"][0]["param_names"] == ["first", "second"]
    with pytest.raises(ValueError, match="with/without names"):
        optimizer.add_param_group({"params": [parameter()]})


def test_differentiable_updates_are_refused() -> None:
    with pytest.raises(RuntimeError, match="differentiable=True is not supported"):
        optim.SGD([parameter()], differentiable=True)


def test_duplicates_warn() -> None:
    p = parameter()
    with pytest.warns(UserWarning, match="duplicate parameters"):
        optim.SGD([p, p], lr=0.1)
