"""smelt: PyTorch-style code, run eagerly or compiled to fused native programs.

`import smelt as torch` ports a program. Names, argument names, defaults, dtypes, shapes, printed
forms and error classes follow PyTorch's.
"""

from __future__ import annotations

from math import e, inf, nan, pi
from typing import TYPE_CHECKING, Any

from smelt import autograd
from smelt.autograd.modes import (
    enable_grad,
    inference_mode,
    is_grad_enabled,
    is_inference_mode_enabled,
    no_grad,
    set_grad_enabled,
)
from smelt.compile import compile
from smelt.compile import trace as _trace
from smelt.constructors import (
    BFloat16Tensor,
    BoolTensor,
    ByteTensor,
    CharTensor,
    DoubleTensor,
    FloatTensor,
    HalfTensor,
    IntTensor,
    LongTensor,
    ShortTensor,
)
from smelt.functions.predicates import (
    can_cast,
    is_complex,
    is_floating_point,
    is_tensor,
    numel,
    promote_types,
    result_type,
)
from smelt.ir.dtypes import (
    DType,
    bfloat16,
    bool_,
    complex64,
    complex128,
    float16,
    float32,
    float64,
    int8,
    int16,
    int32,
    int64,
    uint8,
    uint16,
    uint32,
    uint64,
)
from smelt.limits import finfo, iinfo
from smelt.printing import get_printoptions, set_printoptions
from smelt.random import (
    Generator,
    default_generator,
    get_rng_state,
    initial_seed,
    manual_seed,
    seed,
    set_rng_state,
)
from smelt.runtime.device import device
from smelt.runtime.pool import get_num_threads, set_num_threads
from smelt.size import Size
from smelt.state import get_default_dtype, set_default_dtype
from smelt.surface import names
from smelt.surface.names import *  # noqa: F403 - every public function, listed by the generator
from smelt.tensor import Tensor

trace = _trace  # instead of the one of the star: it takes a matrix too, as torch.trace does

if TYPE_CHECKING:
    from smelt import cuda, nn, optim, utils

__version__ = "0.1.0"

# The function, not the submodule of that name, which the import above has set.
tensor = names.tensor

# PyTorch's other names of dtypes and constants.
dtype = DType
bool = bool_
float = float32
double = float64
half = float16
long = int64
int = int32
short = int16
cfloat = complex64
cdouble = complex128
newaxis = None
strided = "strided"
preserve_format = "preserve_format"
contiguous_format = "contiguous_format"

__all__ = [
    "BFloat16Tensor",
    "BoolTensor",
    "ByteTensor",
    "CharTensor",
    "DType",
    "DoubleTensor",
    "FloatTensor",
    "Generator",
    "HalfTensor",
    "IntTensor",
    "LongTensor",
    "ShortTensor",
    "Size",
    "Tensor",
    "autograd",
    "bfloat16",
    "bool",
    "can_cast",
    "cdouble",
    "cfloat",
    "compile",
    "complex64",
    "complex128",
    "contiguous_format",
    "cuda",
    "default_generator",
    "device",
    "double",
    "dtype",
    "e",
    "enable_grad",
    "finfo",
    "float",
    "float16",
    "float32",
    "float64",
    "get_default_dtype",
    "get_num_threads",
    "get_printoptions",
    "get_rng_state",
    "half",
    "iinfo",
    "inf",
    "inference_mode",
    "initial_seed",
    "int",
    "int8",
    "int16",
    "int32",
    "int64",
    "is_complex",
    "is_floating_point",
    "is_grad_enabled",
    "is_inference_mode_enabled",
    "is_tensor",
    "long",
    "manual_seed",
    "nan",
    "newaxis",
    "nn",
    "no_grad",
    "numel",
    "optim",
    "pi",
    "preserve_format",
    "promote_types",
    "result_type",
    "seed",
    "set_default_dtype",
    "set_grad_enabled",
    "set_num_threads",
    "set_printoptions",
    "set_rng_state",
    "short",
    "strided",
    "trace",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "utils",
]
__all__ += names.__all__

# Functions of neural networks that PyTorch also has at the top.
_FUNCTIONAL = [
    "alpha_dropout",
    "batch_norm",
    "bilinear",
    "celu",
    "conv1d",
    "conv2d",
    "conv3d",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
    "cosine_similarity",
    "dropout",
    "embedding",
    "group_norm",
    "instance_norm",
    "layer_norm",
    "max_pool1d",
    "max_pool2d",
    "max_pool3d",
    "pairwise_distance",
    "prelu",
    "rms_norm",
    "selu",
]
_LAZY_MODULES = ("cuda", "nn", "optim", "utils")


def __getattr__(name: str) -> Any:
    import importlib

    if name in _LAZY_MODULES:
        return importlib.import_module(f"smelt.{name}")
    if name in _FUNCTIONAL:
        return getattr(importlib.import_module("smelt.nn.functional"), name)
    raise AttributeError(f"module 'smelt' has no attribute {name!r}")
