"""Schedules follow PyTorch's, number for number."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from smelt import optim
from smelt.base import wrap

torch = pytest.importorskip("torch")

SCHEDULES: dict[str, Callable[[Any, Any], Any]] = {
    "step": lambda s, o: s.StepLR(o, 3, gamma=0.5),
    "milestones": lambda s, o: s.MultiStepLR(o, [2, 5, 5, 9], gamma=0.3),
    "constant": lambda s, o: s.ConstantLR(o, factor=0.25, total_iters=4),
    "linear": lambda s, o: s.LinearLR(o, 0.2, 0.9, total_iters=7),
    "exponential": lambda s, o: s.ExponentialLR(o, 0.9),
    "lambda": lambda s, o: s.LambdaLR(o, lambda k: 1 / (1 + k)),
    "lambdas": lambda s, o: s.LambdaLR(o, [lambda k: 0.9**k, lambda k: 1 / (1 + k)]),
    "cosine": lambda s, o: s.CosineAnnealingLR(o, 5, eta_min=0.001),
    "one cycle": lambda s, o: s.OneCycleLR(o, 0.5, total_steps=40),
    "one cycle, three phases": lambda s, o: s.OneCycleLR(
        o, [0.5, 0.7], epochs=4, steps_per_epoch=10, three_phase=True, anneal_strategy="linear"
    ),
    "one cycle, no momentum": lambda s, o: s.OneCycleLR(
        o, 0.5, total_steps=40, pct_start=0.1, cycle_momentum=False, div_factor=10.0
    ),
    "sequence": lambda s, o: s.SequentialLR(
        o,
        [s.ConstantLR(o, 0.1, total_iters=3), s.ExponentialLR(o, 0.8), s.StepLR(o, 2)],
        milestones=[4, 11],
    ),
    "warm-up then cosine": lambda s, o: s.SequentialLR(
        o,
        [s.LinearLR(o, 0.01, total_iters=5), s.CosineAnnealingLR(o, 20, eta_min=0.01)],
        milestones=[5],
    ),
}


def pair(**options: Any) -> tuple[Any, Any]:
    """Return an optimiser of PyTorch's and one of ours, with two groups each."""
    theirs = [torch.zeros(1, requires_grad=True) for _ in range(2)]
    ours = [wrap(np.zeros(1, np.float32)) for _ in range(2)]

    def groups(parameters: list[Any]) -> list[dict[str, Any]]:
        return [{"params": [parameters[0]]}, {"params": [parameters[1]], "lr": 0.3}]

    return (
        torch.optim.SGD(groups(theirs), lr=0.1, momentum=0.9, **options),
        optim.SGD(groups(ours), lr=0.1, momentum=0.9, **options),
    )


def numbers(optimizer: Any) -> list[float]:
    return [group[k] for group in optimizer.param_groups for k in ("lr", "momentum")]


@pytest.mark.parametrize("name", SCHEDULES)
def test_trajectory(name: str) -> None:
    theirs, ours = pair()
    expected = SCHEDULES[name](torch.optim.lr_scheduler, theirs)
    schedule = SCHEDULES[name](optim.lr_scheduler, ours)
    for step in range(40):
        assert numbers(ours) == pytest.approx(numbers(theirs), rel=1e-12), f"step {step}"
        assert schedule.get_last_lr() == pytest.approx(expected.get_last_lr(), rel=1e-12)
        assert schedule.last_epoch == expected.last_epoch
        if step == 39:
            break
        theirs.step()
        ours.step()
        expected.step()
        schedule.step()
        if step == 13:  # schedules go on from what the user sets
            for optimizer in (ours, theirs):
                optimizer.param_groups[0]["lr"] *= 0.5


@pytest.mark.parametrize("name", [n for n in SCHEDULES if "lambda" not in n])
def test_saved_states_are_pytorchs(name: str) -> None:
    theirs, ours = pair()
    expected = SCHEDULES[name](torch.optim.lr_scheduler, theirs)
    schedule = SCHEDULES[name](optim.lr_scheduler, ours)
    for _ in range(6):
        theirs.step()
        expected.step()
    saved = expected.state_dict()
    schedule.load_state_dict(saved)
    for group, other in zip(ours.param_groups, theirs.param_groups):
        group["lr"], group["momentum"] = other["lr"], other["momentum"]
    ours.step()
    for _ in range(10):
        theirs.step()
        expected.step()
        schedule.step()
        assert numbers(ours) == pytest.approx(numbers(theirs), rel=1e-12)


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("threshold_mode", ["rel", "abs"])
def test_plateau(mode: str, threshold_mode: str) -> None:
    theirs, ours = pair()
    options = {
        "mode": mode,
        "factor": 0.5,
        "patience": 2,
        "threshold": 0.05,
        "threshold_mode": threshold_mode,
        "cooldown": 2,
        "min_lr": [0.001, 0.05],
    }
    expected = torch.optim.lr_scheduler.ReduceLROnPlateau(theirs, **options)
    schedule = optim.lr_scheduler.ReduceLROnPlateau(ours, **options)
    for epoch in range(60):
        metric = math.cos(epoch / 3) + 2 + (0.01 * epoch if mode == "min" else -0.01 * epoch)
        expected.step(metric)
        schedule.step(metric)
        assert numbers(ours) == pytest.approx(numbers(theirs), rel=1e-12)
        assert schedule.num_bad_epochs == expected.num_bad_epochs
        assert schedule.best == pytest.approx(expected.best)


def test_going_to_a_step() -> None:
    for name in ("step", "milestones", "constant", "linear", "exponential", "lambda", "cosine"):
        theirs, ours = pair()
        expected = SCHEDULES[name](torch.optim.lr_scheduler, theirs)
        schedule = SCHEDULES[name](optim.lr_scheduler, ours)
        theirs.step(), ours.step()
        for epoch in (3, 17, 2):
            with pytest.warns(UserWarning, match="epoch parameter"):
                expected.step(epoch)
            with pytest.warns(UserWarning, match="epoch parameter"):
                schedule.step(epoch)
            assert numbers(ours) == pytest.approx(numbers(theirs), rel=1e-12)


def test_resuming_after_a_step() -> None:
    for name in ("cosine", "exponential"):
        theirs, ours = pair()
        for optimizer in (theirs, ours):
            for group in optimizer.param_groups:
                group["initial_lr"] = 0.2
        make = {
            "cosine": lambda s, o: s.CosineAnnealingLR(o, 5, last_epoch=2),
            "exponential": lambda s, o: s.ExponentialLR(o, 0.5, last_epoch=2),
        }[name]
        expected = make(torch.optim.lr_scheduler, theirs)
        schedule = make(optim.lr_scheduler, ours)
        assert schedule.get_last_lr() == pytest.approx(expected.get_last_lr(), rel=1e-12)
