"""Parameters, buffers and submodules: how they are registered, found, converted and printed."""

from __future__ import annotations

import copy
import pickle
from types import ModuleType
from typing import Any

import pytest
import smelt


def network(m: ModuleType) -> Any:
    """Return a module with a parameter, a buffer, a shared submodule and a nested one."""
    nn = m.nn

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(m.ones(3))
            self.register_buffer("steps", m.zeros(2))
            self.register_buffer("scratch", m.zeros(1), persistent=False)
            self.first = nn.Linear(3, 3)
            self.again = self.first
            self.body = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
            self.register_parameter("nothing", None)
            self.width = 3

        def forward(self, x: Any) -> Any:
            return self.body(self.first(x) * self.scale)

    return Net()


def test_names_are_in_order_and_shared_ones_appear_once(m: ModuleType) -> None:
    net = network(m)
    assert [n for n, _ in net.named_parameters()] == [
        "scale", "first.weight", "first.bias", "body.0.weight", "body.0.bias", "body.1.weight",
        "body.1.bias",
    ]  # fmt: skip
    assert [n for n, _ in net.named_parameters(recurse=False)] == ["scale"]
    assert [n for n, _ in net.named_parameters("p", remove_duplicate=False)][3:5] == [
        "p.again.weight",
        "p.again.bias",
    ]
    assert [n for n, _ in net.named_buffers()] == [
        "steps", "scratch", "body.1.running_mean", "body.1.running_var",
        "body.1.num_batches_tracked",
    ]  # fmt: skip
    assert [n for n, _ in net.named_children()] == ["first", "body"]
    assert [n for n, _ in net.named_modules()] == ["", "first", "body", "body.0", "body.1"]
    assert len(list(net.modules())) == 5 and len(list(net.children())) == 2


def test_attributes_of_one_kind_replace_those_of_another(m: ModuleType) -> None:
    net = network(m)
    net.width = m.nn.Parameter(m.zeros(1))
    assert "width" in dict(net.named_parameters())
    net.first = None
    assert "first.weight" not in net.state_dict() and net.first is None
    with pytest.raises(TypeError):
        net.scale = m.zeros(3)
    with pytest.raises(TypeError):
        net.body = 5
    net.steps = m.ones(2)
    assert net.steps.tolist() == dict(net.named_buffers())["steps"].tolist() == [1, 1]
    with pytest.raises(TypeError):
        net.steps = "text"
    del net.scale
    with pytest.raises(AttributeError):
        _ = net.scale


def test_names_that_cannot_be(m: ModuleType) -> None:
    net = network(m)
    for bad in ("a.b", "", "forward"):
        with pytest.raises(KeyError):
            net.register_parameter(bad, None)
        with pytest.raises(KeyError):
            net.register_buffer(bad, None)
        with pytest.raises(KeyError):
            net.add_module(bad, None)
    with pytest.raises(TypeError):
        net.register_parameter("w", m.zeros(1))
    with pytest.raises(TypeError):
        net.add_module("w", 3)


def test_what_is_assigned_before_init_is_refused(m: ModuleType) -> None:
    class Early(m.nn.Module):
        def __init__(self) -> None:
            self.weight = m.nn.Parameter(m.zeros(1))

    with pytest.raises(AttributeError):
        Early()


def test_dotted_paths(m: ModuleType) -> None:
    net = network(m)
    assert net.get_submodule("body.1") is net.body[1] and net.get_submodule("") is net
    assert net.get_parameter("body.0.weight") is net.body[0].weight
    assert net.get_buffer("body.1.running_var") is net.body[1].running_var
    for find, path in [
        (net.get_submodule, "body.7"), (net.get_submodule, "body.0.weight"),
        (net.get_parameter, "body.0.none"), (net.get_parameter, "steps"),
        (net.get_buffer, "scale"),
    ]:  # fmt: skip
        with pytest.raises(AttributeError):
            find(path)


def test_modes_reach_everything_below(m: ModuleType) -> None:
    net = network(m)
    assert net.eval() is net
    assert not any(x.training for x in net.modules())
    net.body.train()
    assert [x.training for x in net.modules()] == [False, False, True, True, True]
    with pytest.raises(ValueError):
        net.train(1)
    assert not any(p.requires_grad for p in net.requires_grad_(False).parameters())


def test_conversion_keeps_parameters_and_leaves_integers(m: ModuleType) -> None:
    net = network(m)
    weight = net.first.weight
    weight.grad = m.ones(3, 3)
    assert net.double() is net
    assert net.first.weight is weight and weight.dtype is m.float64
    assert weight.grad.dtype is m.float64 and weight.requires_grad and weight.is_leaf
    assert net.steps.dtype is m.float64
    assert net.body[1].num_batches_tracked.dtype is m.int64
    assert net.to(m.float16).scale.dtype is m.float16
    assert net.to(m.zeros(1, dtype=m.float32)).scale.dtype is m.float32
    assert net.to("cpu", m.bfloat16).scale.dtype is m.bfloat16
    assert net.float().scale.dtype is m.float32
    with pytest.raises(TypeError):
        net.to(m.int64)


def test_apply_visits_children_first(m: ModuleType) -> None:
    net, seen = network(m), []
    net.apply(lambda x: seen.append(type(x).__name__))
    assert seen == ["Linear", "Linear", "BatchNorm1d", "Sequential", "Net"]


def test_gradients_are_cleared(m: ModuleType) -> None:
    net = network(m)
    net(m.ones(4, 3)).sum().backward()
    assert all(p.grad is not None for p in net.parameters())
    net.zero_grad(set_to_none=False)
    assert all(p.grad.abs().sum() == 0 for p in net.parameters())
    net.zero_grad()
    assert all(p.grad is None for p in net.parameters())


def test_printed_tree(m: ModuleType) -> None:
    assert repr(network(m)) == (
        "Net(\n"
        "  (first): Linear(in_features=3, out_features=3, bias=True)\n"
        "  (again): Linear(in_features=3, out_features=3, bias=True)\n"
        "  (body): Sequential(\n"
        "    (0): Linear(in_features=3, out_features=2, bias=True)\n"
        "    (1): BatchNorm1d(2, eps=1e-05, momentum=0.1, affine=True, bias=True, "
        "track_running_stats=True)\n"
        "  )\n"
        ")"
    )


def test_parameters_print_and_copy(m: ModuleType) -> None:
    weight = m.nn.Parameter(m.ones(2))
    assert repr(weight) == "Parameter containing:\ntensor([1., 1.], requires_grad=True)"
    data = m.zeros(2)
    shared = m.nn.Parameter(data, requires_grad=False)
    data += 1
    assert shared.tolist() == [1, 1] and not shared.requires_grad
    twin = copy.deepcopy(weight)
    assert type(twin) is m.nn.Parameter and twin.requires_grad and twin is not weight
    with m.no_grad():
        twin += 1
    assert weight.tolist() == [1, 1]
    assert isinstance(pickle.loads(pickle.dumps(weight)), m.nn.Parameter)


def test_deep_copies_keep_what_is_shared(m: ModuleType) -> None:
    net = network(m)
    twin = copy.deepcopy(net)
    assert twin.first is twin.again and twin.first is not net.first
    with m.no_grad():
        twin.scale.zero_()
    assert net.scale.tolist() == [1, 1, 1]
    net.eval()
    twin.eval()
    net.scale.data.zero_()
    x = m.ones(2, 3)
    assert net(x).tolist() == twin(x).tolist()


def test_modules_without_forward_say_so(m: ModuleType) -> None:
    with pytest.raises(NotImplementedError, match="forward"):
        m.nn.Module()(1)
    with pytest.raises(TypeError):
        m.nn.Module(1)
    with pytest.raises(AttributeError, match="no attribute 'missing'"):
        _ = m.nn.Module().missing


def test_setters_raise_the_epoch() -> None:
    net = network(smelt)

    def raised(change: Any) -> bool:
        before = smelt.state.settings.epoch
        change()
        return smelt.state.settings.epoch > before

    assert raised(net.eval)
    assert raised(lambda: setattr(net, "width", 4))
    assert raised(lambda: net.register_buffer("more", None))
    assert raised(lambda: net.register_forward_hook(print).remove())
    assert raised(net.double)
