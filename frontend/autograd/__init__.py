"""Automatic differentiation: the tape, the engine that walks it back, modes and hooks."""

from smelt.autograd import functional
from smelt.autograd.api import Variable, backward, detect_anomaly, grad
from smelt.autograd.attach import attach
from smelt.autograd.function import Function, FunctionCtx, once_differentiable
from smelt.autograd.gradcheck import gradcheck, gradgradcheck
from smelt.autograd.modes import (
    enable_grad,
    inference_mode,
    is_grad_enabled,
    no_grad,
    set_grad_enabled,
)

__all__ = [
    "Function",
    "FunctionCtx",
    "Variable",
    "attach",
    "backward",
    "detect_anomaly",
    "enable_grad",
    "functional",
    "grad",
    "gradcheck",
    "gradgradcheck",
    "inference_mode",
    "is_grad_enabled",
    "no_grad",
    "once_differentiable",
    "set_grad_enabled",
]
