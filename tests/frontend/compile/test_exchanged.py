"""Tensors that are given other storage, layouts or gradients while a function is recorded."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
import smelt
from smelt import nn, optim
from smelt.ir.errors import TraceError


def x3() -> Any:
    return smelt.arange(3.0)


def equal(a: Any, b: Any) -> None:
    np.testing.assert_array_equal(a.detach().numpy(), b.detach().numpy())


def test_out_takes_the_shape_of_the_result() -> None:
    x, out = x3(), smelt.zeros(0)
    compiled = smelt.compile(lambda x, out: smelt.add(x, 1, out=out))
    assert compiled(x, out) is out
    equal(out, x + 1)


def test_data_may_be_exchanged_after_it_was_read() -> None:
    def f(x: Any, y: Any) -> Any:
        before = x + 1
        x.data = y * 2
        return before, x * 1

    compiled = smelt.compile(f)
    for k in range(3):
        x, y = x3(), x3() + k
        before, after = compiled(x, y)
        equal(before, x3() + 1)
        equal(after, y * 2)
        equal(x, y * 2)


def test_data_of_a_result_is_its_memory() -> None:
    def f(x: Any) -> Any:
        y = x * 2
        y.data.add_(1)
        return y, y.data

    y, data = smelt.compile(f)(x3())
    equal(y, x3() * 2 + 1)
    assert data.data_ptr() == y.data_ptr()


def test_a_parameter_made_of_a_result() -> None:
    parameter = smelt.compile(lambda x: nn.Parameter(x * 2))(x3())
    equal(parameter, x3() * 2)
    assert parameter.requires_grad
    assert parameter.is_leaf


def test_leaves_decide_about_gradients() -> None:
    def f(v: Any, w: Any, chosen: bool) -> Any:
        v.sum(), w.sum()
        (v if chosen else w).requires_grad_()
        (v * w).sum().backward()
        found = v.grad, w.grad
        v.grad = w.grad = None
        return found

    compiled = smelt.compile(f)
    for chosen in (True, False, True):
        of_v, of_w = compiled(x3(), x3() + 1, chosen)
        assert (of_v is None, of_w is None) == (not chosen, chosen)
        equal(of_v if chosen else of_w, x3() + 1 if chosen else x3())


class State:
    """A model, its optimiser and tensors, and what they were."""

    def __init__(self) -> None:
        self.x, self.y, self.z = x3(), x3().requires_grad_(), x3().reshape(1, 3)
        self.model = nn.Linear(3, 2)
        self.optimiser = optim.Adam(self.model.parameters())
        for parameter in self.model.parameters():
            parameter.grad = smelt.ones_like(parameter)
        self.before = copy.deepcopy(self.model.state_dict())

    def step(self) -> None:
        self.optimiser.zero_grad()
        self.model(self.x).sum().backward()
        self.optimiser.step()

    def change(self) -> None:
        self.step()
        self.x.mul_(self.y)
        self.z.t_()
        self.y.data = x3() * 5

    def check(self) -> None:
        assert not self.optimiser.state
        for name, parameter in self.model.named_parameters():
            equal(parameter, self.before[name])
            assert parameter.grad is not None
            equal(parameter.grad, smelt.ones_like(parameter))
        assert not self.x.requires_grad
        assert self.x.is_leaf
        assert self.x._version == 0
        assert tuple(self.z.shape) == (1, 3)
        equal(self.x, x3())
        equal(self.y, x3())
        self.step()


def test_tracing_changes_nothing() -> None:
    state = State()
    smelt.trace(state.change)
    state.check()


def test_what_is_refused_changes_nothing() -> None:
    state = State()

    def f() -> float:
        state.change()
        return float(state.x.sum())

    with pytest.raises(TraceError, match="needed in Python"):
        smelt.compile(f)()
    state.check()


def test_an_interrupted_compilation_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    from smelt.passes import pipeline

    def interrupt(*arguments: object) -> None:
        raise KeyboardInterrupt

    state = State()

    def interrupted() -> None:
        state.change()

    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "optimise", interrupt)
        with pytest.raises(KeyboardInterrupt):
            smelt.compile(interrupted)()
    state.check()


def test_an_interrupted_run_leaves_no_promise(monkeypatch: pytest.MonkeyPatch) -> None:
    from smelt.runtime.executable import Executable

    def interrupt(*arguments: object) -> None:
        raise KeyboardInterrupt

    state = State()
    compiled = smelt.compile(state.step)
    with monkeypatch.context() as patch:
        patch.setattr(Executable, "run", interrupt)
        with pytest.raises(KeyboardInterrupt):
            compiled()
    assert not state.optimiser.state
    assert all(p.grad is None for p in state.model.parameters())
    compiled()
    assert len(state.optimiser.state) == 2


def test_a_compiled_module_is_copied_without_its_programs() -> None:
    x = smelt.ones(2, 3)
    compiled = smelt.compile(nn.Linear(3, 2))
    expected = compiled(x)
    for twin in (copy.deepcopy(compiled), pickle.loads(pickle.dumps(compiled))):
        equal(twin(x), expected)
        with smelt.no_grad():
            twin._orig_mod.weight.zero_()
        equal(twin(x), twin._orig_mod(x))
        equal(compiled(x), expected)


@smelt.compile
def decorated(x: Any) -> Any:
    return x + 1


def test_a_decorated_function_is_pickled_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, decorated.__module__, sys.modules[__name__])
    decorated(x3())
    assert pickle.loads(pickle.dumps(decorated)) is decorated


def test_batch_norm_that_averages_all_batches() -> None:
    eager = nn.BatchNorm1d(3, momentum=None)
    twin = copy.deepcopy(eager)
    compiled = smelt.compile(twin)
    for k in range(3):
        x = smelt.arange(12.0).reshape(4, 3).sin() + k
        np.testing.assert_allclose(
            compiled(x).detach().numpy(), eager(x).detach().numpy(), rtol=1e-5, atol=1e-6
        )
    np.testing.assert_allclose(
        twin.running_mean.numpy(), eager.running_mean.numpy(), rtol=1e-6, atol=1e-7
    )
