"""Stochastic gradient descent.

Source: Sutskever, Martens, Dahl, Hinton, On the importance of initialization and momentum in deep
learning, 2013; in the form in which the rate multiplies the whole velocity, as PyTorch has it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from smelt.autograd.modes import no_grad
from smelt.dispatch import apply, on_failure, write
from smelt.ir.registry import OPS
from smelt.optim import checks
from smelt.optim.optimizer import Group, Optimizer, loss_of
from smelt.optim.steps import gradient, is_zero, number


class SGD(Optimizer):
    """Stochastic gradient descent with momentum.

    With g the gradient plus `weight_decay` times the parameter p, and v the velocity, g at first:
    v = momentum * v + (1 - dampening) * g, and p = p - lr * v, or with `nesterov`
    p = p - lr * (g + momentum * v).
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: Any = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: Any = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        """Take the parameters and options.

        Args:
            params: tensors, (name, tensor) pairs, or dicts with "params" and options.
            lr: learning rate, a number or a tensor of one element.
            momentum: how much of the velocity is kept.
            dampening: how much of the gradient the velocity does without.
            weight_decay: factor of the parameter that is added to the gradient.
            nesterov: whether to look ahead along the velocity.
            maximize: whether to ascend.
            foreach: accepted for PyTorch's sake, as is `fused`: each update is one op anyway.
            differentiable: must be False.
            fused: see `foreach`.

        Raises:
            ValueError: an option is outside its domain.
        """
        checks.not_negative("learning rate", lr)
        checks.not_negative("momentum value", momentum)
        checks.not_negative("weight_decay value", weight_decay)
        checks.implementation(foreach, fused, differentiable)
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ValueError("Nesterov momentum requires a momentum and zero dampening")
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "dampening": dampening,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
            "maximize": maximize,
            "foreach": foreach,
            "differentiable": differentiable,
            "fused": fused,
        }
        super().__init__(params, defaults)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Change the parameters that have a gradient once; returns the closure's loss."""
        with no_grad():
            loss = loss_of(closure)
            for group in self.param_groups:
                self._update(group)
        return loss

    def _update(self, group: Group) -> None:
        parameters = [p for p in group["params"] if p.grad is not None]
        if not parameters:
            return
        lr, decay = number(group["lr"]), number(group["weight_decay"])
        if is_zero(group["momentum"]):
            op = OPS["sgd_plain_step"]
            attrs = op.attrs(maximize=group["maximize"])
            for parameter in parameters:
                result = apply(op, (parameter, gradient(parameter), lr, decay), attrs)
                write(parameter, result, owned=True)
            return
        op = OPS["sgd_step"]
        attrs = op.attrs(nesterov=group["nesterov"], maximize=group["maximize"])
        momentum, dampening = number(group["momentum"]), number(group["dampening"])
        for parameter in parameters:
            state = self.state[parameter]
            buffer = state.get("momentum_buffer")
            kept = () if buffer is None else (buffer,)
            operands = (parameter, gradient(parameter), lr, momentum, dampening, decay, *kept)
            result, velocity = apply(op, operands, attrs)
            write(parameter, result, owned=True)
            if buffer is None:
                state["momentum_buffer"] = velocity
                on_failure(partial(self.state.pop, parameter, None))
            else:
                write(buffer, velocity, owned=True)
