"""Compiled functions against the same functions run eagerly: values, mutation, aliasing, state."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import smelt
from smelt import nn, optim
from smelt.ir.errors import TraceError

Function = Callable[..., Any]


def tensors(value: Any) -> list[Any]:
    if isinstance(value, smelt.Tensor):
        return [value]
    if isinstance(value, (list, tuple)):
        return [t for item in value for t in tensors(item)]
    return []


def close(a: Any, b: Any) -> None:
    assert a.dtype is b.dtype
    assert a.shape == b.shape
    assert a.requires_grad == b.requires_grad
    np.testing.assert_allclose(
        a.detach().numpy(), b.detach().numpy(), rtol=2e-5, atol=1e-6, equal_nan=True
    )


def same(function: Function, *arguments: Any, calls: int = 3) -> Any:
    """Call `function` eagerly and compiled on copies; compare results and arguments each time."""
    compiled = smelt.compile(function)
    eager_arguments, compiled_arguments = copy.deepcopy(arguments), copy.deepcopy(arguments)
    for _ in range(calls):
        expected = function(*eager_arguments)
        found = compiled(*compiled_arguments)
        assert len(tensors(expected)) == len(tensors(found))
        for a, b in zip(tensors(expected), tensors(found)):
            close(a, b)
        for a, b in zip(tensors(eager_arguments), tensors(compiled_arguments)):
            close(a, b)
            assert (a.grad is None) == (b.grad is None)
            if a.grad is not None:
                close(a.grad, b.grad)
    return compiled


def x23() -> Any:
    return smelt.arange(6.0).reshape(2, 3) / 4 - 0.5


def test_values_are_eagers() -> None:
    same(lambda x: (x.exp() + 1).log().sum(), x23())


def test_one_structure_is_compiled_once() -> None:
    compiled = same(lambda x, y: x @ y.t() + 1, x23(), x23() + 1)
    assert len(compiled.graphs) == 1


def test_another_shape_is_another_program() -> None:
    compiled = smelt.compile(lambda x: x * 2)
    for n in (3, 4, 3, 4):
        close(compiled(smelt.ones(n)), smelt.ones(n) * 2)
    assert len(compiled.graphs) == 2


def test_python_branches_are_decided_anew_on_every_call() -> None:
    def f(x: Any, flag: bool) -> Any:
        return x + 1 if flag else x - 1

    compiled = smelt.compile(f)
    for flag in (True, False, True):
        close(compiled(x23(), flag), f(x23(), flag))
    assert len(compiled.graphs) == 2


def test_a_closure_is_read_anew_on_every_call() -> None:
    state = {"scale": smelt.tensor(2.0)}
    compiled = smelt.compile(lambda x: x * state["scale"])
    close(compiled(x23()), x23() * 2)
    state["scale"] = smelt.tensor(3.0)
    close(compiled(x23()), x23() * 3)
    assert len(compiled.graphs) == 1


def test_a_number_that_changes_is_an_input() -> None:
    compiled = smelt.compile(lambda x, scale: x * scale)
    for scale in (0.5, 0.25, 3.0):
        close(compiled(x23(), scale), x23() * scale)
    assert len(compiled.graphs) == 1


def test_a_literal_is_part_of_the_program() -> None:
    compiled = smelt.compile(lambda x: x * 2.5)
    close(compiled(x23()), x23() * 2.5)
    assert "constant" in str(compiled.graphs[0]) or "full" in str(compiled.graphs[0])


def test_numbers_that_compare_equal_are_kept_apart() -> None:
    def f(x: Any, zero: float) -> Any:
        return smelt.full((2,), zero) + x * 0

    compiled = smelt.compile(f)
    assert not np.signbit(compiled(smelt.zeros(2), 0.0).numpy()).any()
    minus = compiled(-smelt.zeros(2), -0.0)
    assert np.signbit(minus.numpy()).all() == np.signbit(f(-smelt.zeros(2), -0.0).numpy()).all()


def test_strided_inputs_are_read_in_place() -> None:
    base = smelt.arange(24.0).reshape(4, 6)
    same(lambda a, b: a + b, base.t()[::2], smelt.ones(3, 4))
    same(lambda a: a.sum(0), base[:, ::2])
    same(lambda a: a * 2, smelt.ones(3, 1).expand(3, 4))


def test_a_batch_anywhere_in_its_storage_uses_one_program() -> None:
    data = smelt.arange(40.0).reshape(10, 4)
    compiled = smelt.compile(lambda x: x.sum(1))
    for start in (0, 2, 5):
        close(compiled(data[start : start + 2]), data[start : start + 2].sum(1))
    assert len(compiled.graphs) == 1


def test_results_may_be_inputs_views_and_the_same_twice() -> None:
    def f(x: Any) -> Any:
        y = x * 2
        return x, y, y.t(), y

    x = x23()
    a, y, t, again = smelt.compile(f)(x)
    assert a is x
    assert y is again
    assert t.data_ptr() == y.data_ptr()
    y.add_(1)
    close(t, (x23() * 2 + 1).t())


def test_a_view_of_an_argument_that_is_returned_shares_its_memory() -> None:
    x = x23()
    row = smelt.compile(lambda x: x[1])(x)
    x.zero_()
    close(row, smelt.zeros(3))


@pytest.mark.parametrize(
    "change",
    [
        lambda x: x.add_(1),
        lambda x: x[0].mul_(3),
        lambda x: x[:, 1:].copy_(x[:, :2].clone()),
        lambda x: x.t().mul_(2).sum(),
        lambda x: x.view(-1)[::2].zero_(),
        lambda x: (x.add_(1), x.mul_(2), x.sub_(3)),
        lambda x: x.__setitem__((slice(None), 0), x[:, 1]),
        lambda x: x.reshape(3, 2)[1].fill_(7),
    ],
)
def test_mutation_of_arguments(change: Function) -> None:
    def f(x: Any) -> Any:
        before = x.sum()
        change(x)
        return before, x * 1, x[1] + 1

    same(f, x23())


def test_views_taken_before_a_write_see_it() -> None:
    def f(x: Any) -> Any:
        y = x * 1
        row, column = y[0], y[:, 1]
        y.mul_(2)
        row.add_(10)
        return y, row, column, y.t() + 0

    same(f, x23())


def test_arguments_that_are_views_of_one_storage() -> None:
    def f(a: Any, b: Any) -> Any:
        a.mul_(2)
        return a + b

    for make in (lambda s: (s[:4], s[2:6]), lambda s: (s[:6], s[:6]), lambda s: (s[:3], s[3:6])):
        eager, compiled = smelt.arange(6.0), smelt.arange(6.0)
        function = smelt.compile(f)
        for _ in range(2):
            a, b = make(eager)
            c, d = make(compiled)
            if a.shape != b.shape:
                continue
            close(function(c, d), f(a, b))
            close(compiled, eager)


def test_arguments_that_alias_on_a_later_call_only() -> None:
    def f(a: Any, b: Any) -> Any:
        a.add_(1)
        return b * 2

    compiled = smelt.compile(f)
    close(compiled(smelt.zeros(3), smelt.ones(3)), smelt.full((3,), 2.0))
    x = smelt.zeros(3)
    close(compiled(x, x), smelt.full((3,), 2.0))


def test_a_write_in_place_keeps_memory_shared_with_numpy() -> None:
    array = np.ones(3, np.float32)
    x = smelt.from_numpy(array)
    compiled = smelt.compile(lambda x: x.add_(1))
    compiled(x)
    np.testing.assert_array_equal(array, 2)
    array[:] = 5
    close(compiled(x), smelt.full((3,), 6.0))


def test_a_weight_changed_through_numpy_is_seen() -> None:
    layer = smelt.nn.Linear(64, 64, bias=False)
    compiled = smelt.compile(layer)
    x = smelt.ones(32, 64)
    with smelt.no_grad():
        compiled(x)
        layer.weight.detach().numpy()[...] = 2
        close(compiled(x), smelt.full((32, 64), 128.0))
        layer.weight.data.fill_(3)
        close(compiled(x), smelt.full((32, 64), 192.0))


def test_numpy_sharing_between_two_tensors_that_are_written_is_refused() -> None:
    array = np.ones(4, np.float32)
    a, b = smelt.from_numpy(array), smelt.from_numpy(array[1:])

    def f(a: Any, b: Any) -> Any:
        a.add_(1)
        return b * 2

    with pytest.raises(TraceError, match="NumPy shares"):
        smelt.compile(f)(a, b)
    np.testing.assert_array_equal(array, 1)


def test_tensors_left_in_containers_and_attributes_are_filled() -> None:
    kept: list[Any] = []

    def f(x: Any) -> Any:
        y = x + 1
        kept.append(y)
        return y * 2

    compiled = smelt.compile(f)
    compiled(x23())
    close(kept[0], x23() + 1)


def test_random_numbers_give_the_eager_stream() -> None:
    def f(x: Any) -> Any:
        return smelt.rand(3), nn.functional.dropout(x, 0.5), smelt.randn(2, 2)

    smelt.manual_seed(5)
    expected = [f(smelt.ones(4)) for _ in range(2)]
    after = smelt.rand(1)
    smelt.manual_seed(5)
    compiled = smelt.compile(f)
    for values in expected:
        for a, b in zip(values, compiled(smelt.ones(4))):
            np.testing.assert_array_equal(a.numpy(), b.numpy())
    np.testing.assert_array_equal(after.numpy(), smelt.rand(1).numpy())


def test_nested_compiled_functions_are_one_program() -> None:
    inner = smelt.compile(lambda x: x * 2)
    outer = smelt.compile(lambda x: inner(x) + 1)
    close(outer(x23()), x23() * 2 + 1)
    assert len(outer.graphs) == 1
    assert inner.graphs == []


def test_a_graph_is_one_native_call() -> None:
    from smelt.runtime import executable

    calls: list[str] = []
    original = executable.Executable.run

    def counted(self: Any, *arguments: Any, **keywords: Any) -> Any:
        calls.append(self.signature.name)
        return original(self, *arguments, **keywords)

    compiled = smelt.compile(lambda x: (x @ x.t()).softmax(-1).sum())
    compiled(x23())
    executable.Executable.run = counted  # type: ignore[method-assign]
    try:
        compiled(x23())
    finally:
        executable.Executable.run = original  # type: ignore[method-assign]
    assert len(calls) == 1


def test_trace_gives_the_graph_and_changes_nothing() -> None:
    x = x23()

    def f(x: Any) -> Any:
        x.add_(1)
        return x.sum()

    graph = smelt.trace(f, x)
    close(x, x23())
    assert [str(v.type) for v in graph.inputs] == ["f32[2,3]"]
    assert [str(v.type) for v in graph.outputs] == ["f32[]", "f32[2,3]"]
    assert any(node.location is not None for node in graph.nodes)
    assert {n.location.file for n in graph.nodes if n.location} == {"test_capture.py"}


def test_decorator_with_options_and_methods() -> None:
    class Scaler:
        def __init__(self) -> None:
            self.scale = smelt.tensor(2.0)

        @smelt.compile
        def __call__(self, x: Any) -> Any:
            return x * self.scale

    close(Scaler()(x23()), x23() * 2)

    @smelt.compile(fullgraph=True)
    def f(x: Any) -> Any:
        """Add one."""
        return x + 1

    assert f.__name__ == "f"
    assert f.__doc__ == "Add one."
    close(f(x23()), x23() + 1)


@pytest.mark.parametrize("options", [{"backend": "cuda"}, {"mode": "fast"}, {"options": {"a": 1}}])
def test_unknown_options_are_errors(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="unknown"):
        smelt.compile(lambda x: x, **options)


def test_what_is_no_function_is_an_error() -> None:
    with pytest.raises(TypeError, match="function or a module"):
        smelt.compile(3)


def test_an_optimiser_step_with_schedule_compiles_twice() -> None:
    smelt.manual_seed(0)
    model = nn.Linear(3, 2)
    optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    schedule = optim.lr_scheduler.StepLR(optimizer, 1, 0.5)

    @smelt.compile
    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(x), y)
        loss.backward()
        optimizer.step()
        return loss.detach()

    for _ in range(5):
        step(smelt.ones(4, 3), smelt.zeros(4, 2))
        schedule.step()
    assert len(step.graphs) == 2  # without momentum buffers, then with them


def test_library_calls_run_between_native_programs() -> None:
    def f(x: Any) -> Any:
        x.add_(1)
        order = smelt.randperm(5)
        return (x * 2)[order] + 1, order

    smelt.manual_seed(3)
    expected = f(smelt.arange(5.0))
    smelt.manual_seed(3)
    x = smelt.arange(5.0)
    for a, b in zip(expected, smelt.compile(f)(x)):
        close(a, b)
    close(x, smelt.arange(5.0) + 1)
