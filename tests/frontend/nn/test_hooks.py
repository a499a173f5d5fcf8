"""Hooks of modules: order, what they may replace, removal; forward and backward."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest


def test_order_and_replacement(m: ModuleType) -> None:
    seen: list[str] = []
    layer = m.nn.Identity()
    layer.register_forward_pre_hook(lambda mod, args: seen.append("pre 1"))
    layer.register_forward_pre_hook(lambda mod, args: seen.append("pre 2") or args[0] + 1)
    layer.register_forward_pre_hook(lambda mod, args: seen.append("pre 0"), prepend=True)
    layer.register_forward_hook(lambda mod, args, out: seen.append("post 1") or out * 10)
    layer.register_forward_hook(lambda mod, args, out: seen.append(f"post 2 {out.item():g}"))
    assert layer(m.ones(())).item() == 20
    assert seen == ["pre 0", "pre 1", "pre 2", "post 1", "post 2 20"]


def test_keywords(m: ModuleType) -> None:
    class Add(m.nn.Module):
        def forward(self, x: Any, *, y: Any) -> Any:
            return x + y

    layer, seen = Add(), []
    layer.register_forward_pre_hook(
        lambda mod, args, kwargs: (args, {"y": kwargs["y"] + 1}), with_kwargs=True
    )
    layer.register_forward_hook(
        lambda mod, args, kwargs, out: seen.append((len(args), sorted(kwargs))), with_kwargs=True
    )
    assert layer(m.ones(()), y=m.ones(())).item() == 3
    assert seen == [(1, ["y"])]
    layer.register_forward_pre_hook(lambda mod, args, kwargs: 5, with_kwargs=True)
    with pytest.raises(RuntimeError):
        layer(m.ones(()), y=m.ones(()))


def test_removal_and_contexts(m: ModuleType) -> None:
    layer, seen = m.nn.Identity(), []
    handle = layer.register_forward_hook(lambda *a: seen.append("kept out"))
    handle.remove()
    handle.remove()
    with layer.register_forward_hook(lambda *a: seen.append("within")):
        layer(m.ones(1))
    layer(m.ones(1))
    assert seen == ["within"]


def test_hooks_that_are_always_called(m: ModuleType) -> None:
    class Fails(m.nn.Module):
        def forward(self, x: Any) -> Any:
            raise ArithmeticError

    layer, seen = Fails(), []
    layer.register_forward_hook(lambda mod, args, out: seen.append(out), always_call=True)
    layer.register_forward_hook(lambda mod, args, out: seen.append("not this one"))
    with pytest.raises(ArithmeticError):
        layer(m.ones(1))
    assert seen == [None]


def test_backward_hooks_see_and_replace_gradients(m: ModuleType) -> None:
    layer, seen = m.nn.Linear(2, 1, bias=False), []
    with m.no_grad():
        layer.weight.copy_(m.tensor([[2.0, 3.0]]))

    def pre(mod: Any, outgoing: Any) -> Any:
        seen.append(outgoing[0].tolist())
        return (outgoing[0] * 10,)

    def post(mod: Any, incoming: Any, outgoing: Any) -> Any:
        seen.append((incoming[0].tolist(), outgoing[0].tolist()))
        return (incoming[0] * 100,)

    layer.register_full_backward_pre_hook(pre)
    layer.register_full_backward_hook(post)
    x = m.ones(1, 2, requires_grad=True)
    layer(x).sum().backward()
    assert seen == [[[1.0]], ([[20.0, 30.0]], [[10.0]])]
    assert x.grad.tolist() == [[2000.0, 3000.0]]
    assert layer.weight.grad.tolist() == [[10.0, 10.0]]


@pytest.mark.filterwarnings("ignore:Full backward hook is firing:UserWarning")
def test_backward_hooks_see_one_gradient_an_argument(m: ModuleType) -> None:
    class Scaled(m.nn.Linear):
        def forward(self, factor: float, x: Any) -> Any:
            return super().forward(x) * factor

    layer, seen = Scaled(2, 1), []

    def hook(mod: Any, incoming: Any, outgoing: Any) -> None:
        seen.append([g is None for g in incoming] + [len(outgoing)])

    layer.register_full_backward_hook(hook)
    layer(2.0, m.ones(1, 2, requires_grad=True)).sum().backward()
    layer(2.0, m.ones(1, 2)).sum().backward()
    assert seen == [[True, False, 1], [True, True, 1]]


def test_backward_hooks_give_as_many_as_they_get(m: ModuleType) -> None:
    layer = m.nn.Linear(2, 1)
    layer.register_full_backward_hook(lambda mod, incoming, outgoing: incoming * 2)
    with pytest.raises(RuntimeError, match="expected 1"):
        layer(m.ones(1, 2, requires_grad=True)).sum().backward()


def test_one_kind_of_backward_hook_a_module(m: ModuleType) -> None:
    layer = m.nn.Linear(2, 1)
    layer.register_full_backward_hook(lambda *a: None)
    with pytest.raises(RuntimeError):
        layer.register_backward_hook(lambda *a: None)


def test_hooks_of_tensors(m: ModuleType) -> None:
    seen: list[str] = []
    x = m.ones(2, requires_grad=True)
    y = x * 2
    y.register_hook(lambda g: seen.append("result") or g * 3)
    gone = x.register_hook(lambda g: seen.append("gone"))
    gone.remove()
    with x.register_hook(lambda g: seen.append("leaf")):
        x.register_post_accumulate_grad_hook(lambda t: seen.append(f"grad {t.grad.tolist()}"))
        y.sum().backward()
    assert seen == ["result", "leaf", "grad [6.0, 6.0]"]
    (x * 1).sum().backward()
    assert seen == ["result", "leaf", "grad [6.0, 6.0]", "grad [7.0, 7.0]"]
