"""What goes wrong under compile leaves what eager execution would leave, or nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import smelt
from smelt import driver, nn, optim
from smelt.ir.errors import InternalError, LoweringError, TraceError


def test_a_branch_on_a_traced_value_names_the_line_and_the_remedy() -> None:
    @smelt.compile
    def f(x: Any) -> Any:
        if x.sum() > 0:
            return x
        return -x

    with pytest.raises(TraceError, match=r"test_failures\.py:\d+.*smelt\.where"):
        f(smelt.ones(2))


@pytest.mark.parametrize("read", [lambda y: y.item(), float, lambda y: y.numpy(), repr, bool])
def test_reading_a_promised_value_is_refused(read: Any) -> None:
    with pytest.raises(TraceError, match="needed in Python"):
        smelt.compile(lambda x: read(x.sum()))(smelt.ones(2))


def test_reading_an_argument_is_allowed() -> None:
    compiled = smelt.compile(lambda x, k: x * k.item())
    for k in (2.0, 3.0):
        assert compiled(smelt.ones(1), smelt.tensor(k)).item() == k


def test_the_users_exception_leaves_eagers_effects() -> None:
    def f(x: Any) -> Any:
        x.add_(1)
        raise KeyError("mine")

    x = smelt.zeros(2)
    with pytest.raises(KeyError, match="mine"):
        smelt.compile(f)(x)
    np.testing.assert_array_equal(x.numpy(), 1)


def test_a_shape_mistake_raises_at_its_line_with_both_shapes() -> None:
    def f(a: Any, b: Any) -> Any:
        a.add_(1)
        return a @ b

    a = smelt.zeros(2, 3)
    with pytest.raises(RuntimeError, match=r"2.*3.*4.*5|\[2, 3\]|2x3"):
        smelt.compile(f)(a, smelt.zeros(4, 5))
    np.testing.assert_array_equal(a.numpy(), 1)


def step_of(model: Any, optimizer: Any) -> Any:
    @smelt.compile
    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    return step


def network() -> Any:
    smelt.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))


def state_of(model: Any) -> dict[str, Any]:
    return {k: v.numpy().copy() for k, v in model.state_dict().items()}


def test_a_failed_compile_leaves_everything_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    model = network()
    optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    step = step_of(model, optimizer)
    before, random = state_of(model), smelt.get_rng_state()

    def fail(*arguments: Any, **keywords: Any) -> Any:
        raise InternalError("planted")

    with monkeypatch.context() as patch:
        patch.setattr(driver, "compile_graph", fail)
        with pytest.raises(InternalError, match="planted"):
            step(smelt.ones(5, 4), smelt.tensor([0, 1, 2, 0, 1]))
    for name, value in state_of(model).items():
        np.testing.assert_array_equal(value, before[name], err_msg=name)
    assert all(p.grad is None for p in model.parameters())
    np.testing.assert_array_equal(np.asarray(smelt.get_rng_state()), np.asarray(random))
    eager = network()
    eager_optimizer = optim.SGD(eager.parameters(), lr=0.1, momentum=0.9)
    for _ in range(2):  # the step works afterwards, as if nothing had happened
        found = step(smelt.ones(5, 4), smelt.tensor([0, 1, 2, 0, 1]))
        eager_optimizer.zero_grad()
        loss = nn.functional.cross_entropy(eager(smelt.ones(5, 4)), smelt.tensor([0, 1, 2, 0, 1]))
        loss.backward()
        eager_optimizer.step()
        assert abs(found.item() - loss.item()) < 1e-5


@pytest.mark.parametrize("bad", [7, -1])
def test_an_index_out_of_range_raises_what_eager_raises(bad: int) -> None:
    table = smelt.arange(12.0).reshape(4, 3)

    def f(index: Any) -> Any:
        return nn.functional.embedding(index + 0, table) * 2

    compiled = smelt.compile(f)
    good = smelt.tensor([0, 3])
    np.testing.assert_array_equal(compiled(good).numpy(), f(good).numpy())
    index = smelt.tensor([1, bad])
    with pytest.raises(IndexError) as eager:
        f(index)
    with pytest.raises(IndexError) as found:
        compiled(index)
    assert str(found.value) == str(eager.value)
    np.testing.assert_array_equal(compiled(good).numpy(), f(good).numpy())


def test_bad_data_leaves_eagers_effects_up_to_its_operation() -> None:
    def f(x: Any, a: Any, b: Any) -> Any:
        x.add_(1)
        y = a // b
        x.add_(10)
        return y

    x = smelt.zeros(2)
    with pytest.raises(RuntimeError, match=r"(?i)zero"):
        smelt.compile(f)(x, smelt.tensor([1, 2]), smelt.tensor([1, 0]))
    np.testing.assert_array_equal(x.numpy(), 1)


def test_backward_through_the_graph_a_second_time_is_refused() -> None:
    w = smelt.ones(3, requires_grad=True)

    def f() -> Any:
        loss = (w * w).sum()
        loss.backward()
        return loss

    loss = smelt.compile(f)()
    with pytest.raises(RuntimeError, match="second time"):
        loss.backward()


def test_a_promise_that_was_abandoned_says_why() -> None:
    kept: list[Any] = []

    def f(x: Any) -> Any:
        kept.append(x * 2)
        return bool(kept[0].sum())

    with pytest.raises(TraceError):
        smelt.compile(f)(smelt.ones(2))
    with pytest.raises(TraceError, match="failed"):
        kept[0].numpy()


@pytest.mark.parametrize("function", [lambda x: smelt.cat([x, x]), lambda x: x.flip(0)])
def test_complex_numbers_are_refused_at_their_line(function: Any) -> None:
    x = smelt.tensor([1 + 2j, 3 - 1j])
    with pytest.raises(LoweringError, match=r"test_failures.py:\d+: .*c64.*not compiled yet"):
        smelt.compile(function)(x)
    assert x.tolist() == [1 + 2j, 3 - 1j]
