"""Saving and loading the state of modules."""

from __future__ import annotations

from collections import OrderedDict
from types import ModuleType
from typing import Any

import pytest


def pair(m: ModuleType) -> tuple[Any, Any]:
    """Return two networks that are alike but for their weights."""
    nn = m.nn
    return tuple(nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)) for _ in range(2))


def test_keys_and_sharing(m: ModuleType) -> None:
    net, _ = pair(m)
    state = net.state_dict()
    assert isinstance(state, OrderedDict)
    assert list(state) == [
        "0.weight", "0.bias", "1.weight", "1.bias", "1.running_mean", "1.running_var",
        "1.num_batches_tracked",
    ]  # fmt: skip
    assert not state["0.weight"].requires_grad
    state["0.weight"].zero_()
    assert net[0].weight.abs().sum() == 0
    assert net.state_dict(keep_vars=True)["0.weight"] is net[0].weight
    assert next(iter(net.state_dict(prefix="p."))) == "p.0.weight"


def test_round_trip_copies(m: ModuleType) -> None:
    net, other = pair(m)
    net(m.ones(4, 2))
    weight = other[0].weight
    assert repr(other.load_state_dict(net.state_dict())) == "<All keys matched successfully>"
    assert other[0].weight is weight and weight.tolist() == net[0].weight.tolist()
    assert other[1].num_batches_tracked.item() == 1
    net[0].weight.data.zero_()
    assert weight.abs().sum() != 0


def test_assigning_instead_of_copying(m: ModuleType) -> None:
    net, other = pair(m)
    other[0].weight.requires_grad_(False)
    other.load_state_dict(net.state_dict(), assign=True)
    assert isinstance(other[0].weight, m.nn.Parameter) and not other[0].weight.requires_grad
    net[0].weight.data.zero_()
    assert other[0].weight.abs().sum() == 0


def test_keys_that_do_not_match(m: ModuleType) -> None:
    net, other = pair(m)
    state = net.state_dict()
    state["extra"] = state.pop("0.bias")
    with pytest.raises(RuntimeError) as raised:
        other.load_state_dict(state)
    assert 'Missing key(s) in state_dict: "0.bias"' in str(raised.value)
    assert 'Unexpected key(s) in state_dict: "extra"' in str(raised.value)
    result = other.load_state_dict(state, strict=False)
    assert result.missing_keys == ["0.bias"] and result.unexpected_keys == ["extra"]


def test_shapes_and_kinds_that_do_not_match(m: ModuleType) -> None:
    net, other = pair(m)
    state = net.state_dict()
    state["0.weight"] = m.zeros(2, 2)
    state["0.bias"] = "text"
    with pytest.raises(RuntimeError) as raised:
        other.load_state_dict(state, strict=False)
    message = str(raised.value)
    assert "size mismatch for 0.weight" in message and "[2, 2]" in message and "[3, 2]" in message
    assert "0.bias" in message
    with pytest.raises(TypeError):
        other.load_state_dict([1])


def test_buffers_that_do_not_persist(m: ModuleType) -> None:
    module = m.nn.Module()
    module.register_buffer("kept", m.ones(1))
    module.register_buffer("lost", m.ones(1), persistent=False)
    module.register_buffer("none", None)
    assert list(module.state_dict()) == ["kept"]
    assert module.load_state_dict({"kept": m.zeros(1)}).missing_keys == []
    assert (module.kept.item(), module.lost.item()) == (0, 1)


def test_extra_state(m: ModuleType) -> None:
    class Counter(m.nn.Module):
        count = 0

        def get_extra_state(self) -> Any:
            return {"count": self.count}

        def set_extra_state(self, state: Any) -> None:
            self.count = state["count"]

    one, two = m.nn.Sequential(Counter()), m.nn.Sequential(Counter())
    one[0].count = 5
    state = one.state_dict()
    assert list(state) == ["0._extra_state"]
    two.load_state_dict(state)
    assert two[0].count == 5
    assert two.load_state_dict({}, strict=False).missing_keys == ["0._extra_state"]


def test_hooks(m: ModuleType) -> None:
    net, other = pair(m)
    seen: list[str] = []
    net.register_state_dict_pre_hook(lambda mod, prefix, keep: seen.append("saving"))
    net.register_state_dict_post_hook(lambda mod, state, *rest: state.__delitem__("0.bias"))

    def fill(mod: Any, state: Any, *rest: Any) -> None:
        state["0.bias"] = m.zeros(3)

    def forgive(mod: Any, keys: Any) -> None:
        seen.append(f"loaded, missing {keys.missing_keys}")
        keys.missing_keys.clear()

    other.register_load_state_dict_pre_hook(fill)
    other.register_load_state_dict_post_hook(forgive)
    state = net.state_dict()
    assert "0.bias" not in state
    del state["1.bias"]
    other.load_state_dict(state)
    assert other[0].bias.tolist() == [0, 0, 0]
    assert seen == ["saving", "loaded, missing ['1.bias']"]
    net.register_state_dict_post_hook(lambda mod, state, *rest: state)
    with pytest.raises(RuntimeError, match="must return None"):
        net.state_dict()
