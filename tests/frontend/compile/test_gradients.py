"""Gradients through compiled functions: inside, outside, and across the boundary."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import smelt
from smelt import nn


def close(a: Any, b: Any) -> None:
    np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=2e-5, atol=1e-6)


def model_and_data() -> tuple[Any, Any]:
    smelt.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.LayerNorm(8), nn.Linear(8, 3))
    return model, smelt.randn(5, 4)


def gradients(model: Any) -> list[Any]:
    return [p.grad for p in model.parameters()]


def test_backward_outside_a_compiled_model() -> None:
    model, x = model_and_data()
    other = copy.deepcopy(model)
    compiled = smelt.compile(other)
    for _ in range(2):
        model(x).square().sum().backward()
        compiled(x).square().sum().backward()
    for a, b in zip(gradients(model), gradients(other)):
        close(a, b)


def test_gradients_of_the_inputs() -> None:
    model, x = model_and_data()
    eager, traced = x.clone().requires_grad_(), x.clone().requires_grad_()
    model(eager * 2).sum().backward()
    smelt.compile(model)(traced * 2).sum().backward()
    close(eager.grad, traced.grad)


def test_across_several_compiled_functions() -> None:
    model, x = model_and_data()
    other = copy.deepcopy(model)
    first, second = smelt.compile(other[:2]), smelt.compile(other[2:])
    model(x).exp().sum().backward()
    second(first(x)).exp().sum().backward()
    for a, b in zip(gradients(model), gradients(other)):
        close(a, b)


def test_backward_inside_accumulates() -> None:
    model, x = model_and_data()
    other = copy.deepcopy(model)

    def run(network: Any) -> Any:
        loss = network(x).square().mean()
        loss.backward()
        return loss.detach()

    compiled = smelt.compile(lambda: run(other))
    for _ in range(3):
        close(run(model), compiled())
        for a, b in zip(gradients(model), gradients(other)):
            close(a, b)


CASES: dict[str, Callable[[Any], Any]] = {
    "grad": lambda w: smelt.autograd.grad((w**3).sum(), w)[0],
    "double": lambda w: smelt.autograd.grad(
        smelt.autograd.grad((w**3).sum(), w, create_graph=True)[0].sum(), w
    )[0],
    "detached": lambda w: smelt.autograd.grad((w * w.detach()).sum(), w)[0],
    "cotangent": lambda w: smelt.autograd.grad(w * w, w, smelt.arange(3.0))[0],
    "twice": lambda w: smelt.autograd.grad((w.exp() + w.exp()).sum(), w)[0],
}


@pytest.mark.parametrize("case", CASES)
def test_autograd_grad_inside(case: str) -> None:
    w = smelt.tensor([1.0, 2.0, 3.0], requires_grad=True)
    close(smelt.compile(CASES[case])(w), CASES[case](w))


def test_no_grad_islands_stop_gradients() -> None:
    def f(w: Any) -> Any:
        with smelt.no_grad():
            scale = w * 10
        return (w * scale).sum()

    eager = smelt.tensor([1.0, 2.0], requires_grad=True)
    traced = smelt.tensor([1.0, 2.0], requires_grad=True)
    f(eager).backward()
    smelt.compile(f)(traced).backward()
    close(eager.grad, traced.grad)


def test_grad_mode_is_part_of_the_key() -> None:
    w = smelt.ones(3, requires_grad=True)
    compiled = smelt.compile(lambda: w * 2)
    assert compiled().requires_grad
    with smelt.no_grad():
        assert not compiled().requires_grad
    assert compiled().requires_grad


def test_training_mode_is_part_of_the_key() -> None:
    smelt.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Dropout(0.5))
    compiled = smelt.compile(model)
    x = smelt.randn(6, 3)
    model.eval()
    close(compiled(x), model(x))
    model.train()
    other = copy.deepcopy(model)
    smelt.manual_seed(1)
    expected = other(x)
    smelt.manual_seed(1)
    close(compiled(x), expected)
    for a, b in zip(model.buffers(), other.buffers()):
        close(a, b)


def test_in_place_operations_on_intermediates() -> None:
    def f(w: Any) -> Any:
        y = w * 2
        y[0].mul_(3)
        y.add_(w)
        return (y * y).sum()

    eager = smelt.ones(2, 2, requires_grad=True)
    traced = smelt.ones(2, 2, requires_grad=True)
    f(eager).backward()
    smelt.compile(f)(traced).backward()
    close(eager.grad, traced.grad)


def test_hooks_of_parameters_are_recorded() -> None:
    w = smelt.ones(3, requires_grad=True)
    w.register_hook(lambda g: g * 2)

    def f() -> Any:
        w.grad = None
        (w * 3).sum().backward()

    compiled = smelt.compile(f)
    for _ in range(2):
        compiled()
        np.testing.assert_array_equal(w.grad.numpy(), 6)


def test_a_saved_input_that_changes_before_backward_is_noticed() -> None:
    w = smelt.ones(3, requires_grad=True)
    x = smelt.ones(3)
    result = smelt.compile(lambda: (w * x).sum())()
    x.add_(1)
    with pytest.raises(RuntimeError, match="inplace"):
        result.backward()


def test_clipping_and_parameter_updates_in_one_program() -> None:
    model, x = model_and_data()
    other = copy.deepcopy(model)

    def step(network: Any) -> Any:
        network.zero_grad()
        loss = network(x).square().sum()
        loss.backward()
        norm = nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        with smelt.no_grad():
            for p in network.parameters():
                p.sub_(0.1 * p.grad)
        return loss.detach(), norm

    compiled = smelt.compile(lambda: step(other))
    for _ in range(3):
        for a, b in zip(step(model), compiled()):
            close(a, b)
    for a, b in zip(model.parameters(), other.parameters()):
        close(a, b)


def test_a_result_written_through_a_view_that_is_gone() -> None:
    def f(x: Any, w: Any) -> Any:
        y = x * 1
        y[0].mul_(w)
        return y

    for function in (f, smelt.compile(f)):
        w = smelt.ones(3).requires_grad_()
        y = function(smelt.arange(6.0).reshape(2, 3), w)
        (y * y).sum().backward()
        np.testing.assert_allclose(w.grad.numpy(), [0.0, 2.0, 8.0])
