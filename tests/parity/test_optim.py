"""Optimisers follow PyTorch's trajectories, and read and write its saved states."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import smelt
from smelt import optim

torch = pytest.importorskip("torch")

SHAPES = [(3, 4), (5,), ()]
CASES: list[tuple[str, dict[str, Any]]] = [
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.1, "weight_decay": 0.05, "maximize": True}),
    ("SGD", {"lr": 0.1, "momentum": 0.9}),
    ("SGD", {"lr": 0.05, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.01}),
    ("SGD", {"lr": 0.05, "momentum": 0.8, "nesterov": True, "weight_decay": 0.01}),
    ("SGD", {"lr": 0.05, "momentum": 0.8, "maximize": True}),
    ("Adam", {"lr": 0.02}),
    ("Adam", {"lr": 0.02, "weight_decay": 0.1, "betas": (0.8, 0.95), "eps": 1e-6}),
    ("Adam", {"lr": 0.02, "amsgrad": True, "maximize": True}),
    ("Adam", {"lr": 0.02, "decoupled_weight_decay": True, "weight_decay": 0.1}),
    ("AdamW", {"lr": 0.02}),
    ("AdamW", {"lr": 0.02, "weight_decay": 0.3, "amsgrad": True}),
    ("AdamW", {"lr": 0.02, "maximize": True}),
]
IDS = [f"{name} {k}" for k, (name, _) in enumerate(CASES)]


def parameters(dtype: str = "float32") -> tuple[list[Any], list[Any]]:
    random = np.random.default_rng(0)
    arrays = [np.asarray(random.standard_normal(s)) for s in SHAPES]
    theirs = [torch.tensor(a, dtype=getattr(torch, dtype), requires_grad=True) for a in arrays]
    ours = [smelt.tensor(a, dtype=getattr(smelt, dtype), requires_grad=True) for a in arrays]
    return theirs, ours


def set_gradients(theirs: list[Any], ours: list[Any], step: int) -> None:
    random = np.random.default_rng(step + 1)
    for k, (a, b) in enumerate(zip(theirs, ours)):
        gradient = np.asarray(random.standard_normal(SHAPES[k]))
        if k == 1 and step == 2:
            a.grad = b.grad = None  # as of a parameter that took no part
            continue
        a.grad = torch.tensor(gradient, dtype=a.dtype)
        b.grad = smelt.tensor(gradient, dtype=b.dtype)


def assert_close(theirs: list[Any], ours: list[Any], tolerance: float = 1e-6) -> None:
    for a, b in zip(theirs, ours):
        expected = a.detach().to(torch.float64).numpy()
        found = b.detach().to(smelt.float64).numpy()
        np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(("name", "options"), CASES, ids=IDS)
@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
def test_trajectory(name: str, options: dict[str, Any], dtype: str) -> None:
    theirs, ours = parameters(dtype)
    expected = getattr(torch.optim, name)(theirs, **options)
    optimizer = getattr(optim, name)(ours, **options)
    # PyTorch rounds each intermediate result of a bfloat16 update, smelt only the update.
    tolerance = {"float32": 1e-6, "float64": 1e-14, "bfloat16": 0.05}[dtype]
    for step in range(6):
        set_gradients(theirs, ours, step)
        expected.step()
        optimizer.step()
        assert_close(theirs, ours, tolerance)
        if step == 3:  # a schedule changes the rate
            expected.param_groups[0]["lr"] *= 0.3
            optimizer.param_groups[0]["lr"] *= 0.3


@pytest.mark.parametrize(("name", "options"), CASES, ids=IDS)
def test_states_are_exchanged(name: str, options: dict[str, Any]) -> None:
    theirs, ours = parameters()
    expected = getattr(torch.optim, name)(theirs, **options)
    optimizer = getattr(optim, name)(ours, **options)
    assert repr(optimizer) == repr(expected)
    for step in range(2):
        set_gradients(theirs, ours, step)
        expected.step()
        optimizer.step()
    saved, reference = optimizer.state_dict(), expected.state_dict()
    assert saved["param_groups"] == reference["param_groups"]
    assert {k: set(v) for k, v in saved["state"].items()} == {
        k: set(v) for k, v in reference["state"].items()
    }
    translated = {
        "param_groups": reference["param_groups"],
        "state": {
            number: {key: smelt.from_numpy(value.numpy().copy()) for key, value in state.items()}
            for number, state in reference["state"].items()
        },
    }
    _, others = parameters()
    for b, a in zip(others, theirs):
        b.data.copy_(smelt.from_numpy(a.detach().numpy().copy()))
    continued = getattr(optim, name)(others, lr=123.0)
    continued.load_state_dict(translated)
    for step in range(2, 5):
        set_gradients(theirs, others, step)
        expected.step()
        continued.step()
        assert_close(theirs, others)


def test_groups_with_options_of_their_own() -> None:
    theirs, ours = parameters()

    def groups(p: list[Any]) -> list[dict[str, Any]]:
        return [
            {"params": iter(p[:1]), "lr": 0.5},
            {"params": [p[1]], "momentum": 0.5, "weight_decay": 0.1},
        ]

    expected, optimizer = torch.optim.SGD(groups(theirs), lr=0.1), optim.SGD(groups(ours), lr=0.1)
    for step in range(4):
        if step == 2:
            expected.add_param_group({"params": theirs[2], "lr": 0.01})
            optimizer.add_param_group({"params": ours[2], "lr": 0.01})
        set_gradients(theirs, ours, step)
        expected.step()
        optimizer.step()
        assert_close(theirs, ours)
    assert repr(optimizer) == repr(expected)


BAD: list[Any] = [
    lambda m, p: m.SGD(p, lr=-1.0),
    lambda m, p: m.SGD(p, momentum=-0.1),
    lambda m, p: m.SGD(p, weight_decay=-0.1),
    lambda m, p: m.SGD(p, nesterov=True),
    lambda m, p: m.SGD(p, nesterov=True, momentum=0.9, dampening=0.1),
    lambda m, p: m.SGD([]),
    lambda m, p: m.SGD(p[0]),
    lambda m, p: m.SGD([1.0]),
    lambda m, p: m.SGD([p[0] * 2]),
    lambda m, p: m.SGD([{"params": p}, {"params": p[:1]}]),
    lambda m, p: m.SGD([{"params": set(p)}]),
    lambda m, p: m.SGD(p).add_param_group([1]),
    lambda m, p: m.SGD(p).load_state_dict({"state": {}, "param_groups": []}),
    lambda m, p: m.SGD(p).load_state_dict({"state": {}, "param_groups": [{"params": []}]}),
    lambda m, p: m.SGD([("a", p[0]), p[1]]),
    lambda m, p: m.SGD([("a", p[0])]).add_param_group({"params": p[1]}),
    lambda m, p: m.Adam(p, lr=-1.0),
    lambda m, p: m.Adam(p, eps=-1.0),
    lambda m, p: m.Adam(p, betas=(1.0, 0.5)),
    lambda m, p: m.Adam(p, betas=(0.5, -0.1)),
    lambda m, p: m.AdamW(p, weight_decay=-1.0),
    lambda m, p: m.Adam(p, foreach=True, fused=True),
]


@pytest.mark.parametrize("make", BAD, ids=itertools.count())
def test_mistakes_raise_what_pytorch_raises(make: Any) -> None:
    theirs, ours = parameters()
    with pytest.raises(Exception) as expected:
        make(torch.optim, theirs)
    with pytest.raises(expected.type):
        make(optim, ours)
