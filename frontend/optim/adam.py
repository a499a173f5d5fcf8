"""Adam and AdamW.

Sources: Kingma, Ba, Adam: a method for stochastic optimization, 2015; Loshchilov, Hutter,
Decoupled weight decay regularization, 2019; Reddi, Kale, Kumar, On the convergence of Adam and
beyond, 2018 (`amsgrad`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from smelt.autograd.modes import no_grad
from smelt.dispatch import apply, on_failure, write
from smelt.ir import dtypes
from smelt.ir.registry import OPS
from smelt.optim import checks
from smelt.optim.optimizer import Group, Optimizer, loss_of
from smelt.optim.steps import gradient, number, zeros


class Adam(Optimizer):
    """Steps by averages of the gradient and of its square.

    With g the gradient plus `weight_decay` times the parameter p, in step t:
    m = beta1 * m + (1 - beta1) * g, v = beta2 * v + (1 - beta2) * g**2,
    p = p - lr * (m / (1 - beta1**t)) / (sqrt(v / (1 - beta2**t)) + eps).
    With `amsgrad` the greatest v so far stands in the root. With `decoupled_weight_decay` g is the
    gradient alone and p is first multiplied by 1 - lr * weight_decay.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: Any = 1e-3,
        betas: tuple[Any, Any] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        decoupled_weight_decay: bool = False,
    ) -> None:
        """Take the parameters and options.

        Args:
            params: tensors, (name, tensor) pairs, or dicts with "params" and options.
            lr: learning rate, a number or a tensor of one element.
            betas: how much of the averages of gradient and square is kept.
            eps: is added to the root.
            weight_decay: factor of the parameter.
            amsgrad: whether to divide by the greatest average of squares.
            foreach: accepted for PyTorch's sake, as are `capturable` and `fused`.
            maximize: whether to ascend.
            capturable: see `foreach`.
            differentiable: must be False.
            fused: see `foreach`.
            decoupled_weight_decay: whether the decay leaves the averages alone, as in AdamW.

        Raises:
            ValueError: an option is outside its domain.
        """
        checks.not_negative("learning rate", lr)
        checks.not_negative("epsilon value", eps)
        for k, beta in enumerate(betas):
            checks.below_one(f"beta parameter at index {k}", beta)
        checks.not_negative("weight_decay value", weight_decay)
        checks.implementation(foreach, fused, differentiable)
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "amsgrad": amsgrad,
            "maximize": maximize,
            "foreach": foreach,
            "capturable": capturable,
            "differentiable": differentiable,
            "fused": fused,
            "decoupled_weight_decay": decoupled_weight_decay,
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
        amsgrad = group["amsgrad"]
        op = OPS["adam_step"]
        attrs = op.attrs(
            amsgrad=amsgrad,
            decoupled=group["decoupled_weight_decay"],
            maximize=group["maximize"],
        )
        beta1, beta2 = group["betas"]
        numbers = [group["lr"], beta1, beta2, group["eps"], group["weight_decay"]]
        scalars = [number(x) for x in numbers]
        for parameter in parameters:
            state = self.state[parameter]
            if not state:
                on_failure(partial(self.state.pop, parameter, None))
                state["step"] = zeros(dtypes.float32, ())
                state["exp_avg"] = zeros(parameter.dtype, parameter._sizes)
                state["exp_avg_sq"] = zeros(parameter.dtype, parameter._sizes)
                if amsgrad:
                    state["max_exp_avg_sq"] = zeros(parameter.dtype, parameter._sizes)
            kept = [state["exp_avg"], state["exp_avg_sq"], state["step"]]
            if amsgrad:
                kept.append(state["max_exp_avg_sq"])
            operands = (parameter, gradient(parameter), *kept[:3], *scalars, *kept[3:])
            results = apply(op, operands, attrs)
            for target, result in zip((parameter, *kept), results):
                write(target, result, owned=True)


class AdamW(Adam):
    """Adam with decoupled weight decay."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: Any = 1e-3,
        betas: tuple[Any, Any] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        """Take the parameters and options, which are those of `Adam`."""
        super().__init__(
            params,
            lr,
            betas,
            eps,
            weight_decay,
            amsgrad,
            foreach=foreach,
            maximize=maximize,
            capturable=capturable,
            differentiable=differentiable,
            fused=fused,
            decoupled_weight_decay=True,
        )

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for group in self.param_groups:
            group["decoupled_weight_decay"] = True
