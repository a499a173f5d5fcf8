"""Modules that hold modules or parameters, as lists and dictionaries."""

from __future__ import annotations

from collections import OrderedDict
from types import ModuleType

import pytest


def test_sequential(m: ModuleType) -> None:
    nn = m.nn
    net = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1))
    first, tanh, last = net
    assert len(net) == 3 and net[-1] is last and list(net[:2]) == [first, tanh]
    assert isinstance(net[1:], nn.Sequential)
    net.append(nn.ReLU())
    net.insert(1, nn.Identity())
    assert [type(x).__name__ for x in net] == ["Linear", "Identity", "Tanh", "Linear", "ReLU"]
    assert list(net.state_dict()) == ["0.weight", "0.bias", "3.weight", "3.bias"]
    del net[1]
    assert net.pop(3).__class__ is nn.ReLU
    net[1] = nn.GELU()
    del net[0:1]
    assert [n for n, _ in net.named_children()] == ["0", "1"]
    assert [type(x).__name__ for x in net + net] == ["GELU", "Linear"] * 2
    assert len(net.extend([nn.ReLU(), nn.ReLU()])) == 4
    for wrong in (9, -9):
        with pytest.raises(IndexError):
            _ = net[wrong]
    with pytest.raises(TypeError):
        net.append(3)


def test_named_sequential(m: ModuleType) -> None:
    nn = m.nn
    net = nn.Sequential(OrderedDict(up=nn.Linear(1, 2), down=nn.Linear(2, 1)))
    assert net.up is net[0]
    assert list(net.state_dict()) == ["up.weight", "up.bias", "down.weight", "down.bias"]
    assert net(m.zeros(4, 1)).shape == (4, 1)


def test_module_list(m: ModuleType) -> None:
    nn = m.nn
    layers = nn.ModuleList(nn.Linear(k + 1, k + 2) for k in range(3))
    layers += [nn.ReLU()]
    layers.insert(0, nn.Identity())
    assert [type(x).__name__ for x in layers] == [
        "Identity", "Linear", "Linear", "Linear", "ReLU",
    ]  # fmt: skip
    assert list(layers.state_dict())[:2] == ["1.weight", "1.bias"]
    assert len(layers[1:3]) == 2 and isinstance(layers[1:3], nn.ModuleList)
    removed = layers[0]
    assert layers.pop(0) is removed and len(layers) == 4
    layers[0] = nn.Tanh()
    del layers[-1]
    assert [n for n, _ in layers.named_children()] == ["0", "1", "2"]
    assert len(layers.__add__([nn.ReLU()])) == 4
    with pytest.raises(NotImplementedError):
        layers(m.zeros(1))
    with pytest.raises(TypeError):
        layers.extend(3)


def test_module_dict(m: ModuleType) -> None:
    nn = m.nn
    parts = nn.ModuleDict({"a": nn.Linear(1, 1), "b": nn.ReLU()})
    parts["c"] = nn.Tanh()
    parts.update([("d", nn.GELU())])
    assert list(parts) == list(parts.keys()) == ["a", "b", "c", "d"] and "a" in parts
    assert [type(x).__name__ for x in parts.values()] == ["Linear", "ReLU", "Tanh", "GELU"]
    assert dict(parts.items())["b"] is parts["b"]
    assert isinstance(parts.pop("d"), nn.GELU) and len(parts) == 3
    del parts["c"]
    assert list(parts.state_dict()) == ["a.weight", "a.bias"]
    parts.clear()
    assert len(parts) == 0
    with pytest.raises(KeyError):
        _ = parts["a"]


def test_parameter_list(m: ModuleType) -> None:
    nn = m.nn
    weights = nn.ParameterList([m.ones(2), nn.Parameter(m.zeros(3))])
    weights.append(m.ones(1))
    weights += [m.zeros(1)]
    assert len(weights) == 4 and all(isinstance(w, nn.Parameter) for w in weights)
    assert list(weights.state_dict()) == ["0", "1", "2", "3"]
    assert weights[-1].shape == (1,) and len(weights[:2]) == 2
    weights[0] = m.zeros(5)
    assert [n for n, _ in weights.named_parameters()] == ["0", "1", "2", "3"]
    assert weights[0].shape == (5,)
    described = f"Parameter containing: [{m.float32!r} of size 2x3]"
    assert repr(nn.ParameterList([m.ones(2, 3)] * 2)) == (
        f"ParameterList(\n    (0): {described}\n    (1): {described}\n)"
    )
    assert repr(nn.ParameterList([m.ones(2, 3)])) == f"ParameterList(  (0): {described})"
    with pytest.raises(IndexError):
        _ = weights[7]


def test_parameter_dict(m: ModuleType) -> None:
    nn = m.nn
    weights = nn.ParameterDict({"a": m.ones(2)})
    weights["b"] = m.zeros(3)
    weights.update({"c": m.ones(1)})
    assert list(weights) == ["a", "b", "c"] and "b" in weights and len(weights) == 3
    assert isinstance(weights["b"], nn.Parameter) and weights.get("z") is None
    assert weights.pop("b").shape == (3,)
    del weights["c"]
    assert list(weights.state_dict()) == ["a"]
    assert [k for k, _ in weights.items()] == ["a"] and len(list(weights.values())) == 1
    with pytest.raises(AttributeError):
        _ = weights["z"]
