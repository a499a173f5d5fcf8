"""The table of public functions: what exists, and in which forms.

A row is the definition and its forms; the generator writes methods, in-place twins and `out=` forms
from it. `functions` are written down once, in `smelt.functions`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from smelt.functions import (
    arithmetic,
    comparison,
    contraction,
    creation,
    draws,
    indexing,
    joining,
    ordering,
    reductions,
    transcendental,
    views,
)


@dataclass(frozen=True)
class Row:
    """One public function.

    Attributes:
        function: the definition; a method's `self` is its first parameter.
        forms: letters: f function, m method, i in-place method, I in-place function, o out=,
            v in-place method that changes the layout and not the elements.
        aliases: further names.
        public: the public name, where it is not that of the definition.
    """

    function: Callable[..., Any]
    forms: str
    aliases: tuple[str, ...] = ()
    public: str = ""

    @property
    def name(self) -> str:
        """The public name."""
        return self.public or self.function.__name__


def _rows(forms: str, *functions: Callable[..., Any]) -> tuple[Row, ...]:
    return tuple(Row(f, forms) for f in functions)


_A, _T, _C, _R, _V = arithmetic, transcendental, comparison, reductions, views

TABLE: dict[str, tuple[Row, ...]] = {
    "arithmetic": (
        Row(_A.sub, "fmio", ("subtract",)),
        Row(_A.mul, "fmio", ("multiply",)),
        Row(_A.div, "fmio", ("divide", "true_divide")),
        Row(_A.neg, "fmioI", ("negative",)),
        Row(_A.abs, "fmioI", ("absolute",)),
        Row(_A.clamp, "fmioI", ("clip",)),
        Row(_A.trunc, "fmioI", ("fix",)),
        Row(_A.sign, "fmio", ("sgn",)),
        *_rows(
            "fmio", _A.add, _A.floor_divide, _A.remainder, _A.fmod, _A.pow, _A.float_power,
            _A.lerp, _A.addcmul, _A.addcdiv, _A.hypot, _A.copysign,
        ),
        *_rows(
            "fmioI", _A.floor, _A.ceil, _A.round, _A.frac, _A.sqrt, _A.rsqrt,
            _A.reciprocal, _A.square, _A.clamp_min, _A.clamp_max, _A.relu,
        ),
        *_rows("fmo", _A.maximum, _A.minimum),
        *_rows("fm", _A.positive),
        *_rows("f", _A.rsub),
    ),
    "transcendental": (
        *(
            Row(f, "fmioI", (f"arc{f.__name__[1:]}",))
            for f in (_T.asin, _T.acos, _T.atan, _T.asinh, _T.acosh, _T.atanh)
        ),
        *_rows(
            "fmioI", _T.exp, _T.expm1, _T.exp2, _T.log, _T.log2, _T.log10, _T.log1p, _T.sin,
            _T.cos, _T.tan, _T.sinh, _T.cosh, _T.tanh, _T.erf, _T.erfc, _T.sigmoid, _T.deg2rad,
            _T.rad2deg, _T.sinc, _T.nan_to_num,
        ),
        Row(_T.atan2, "fmio", ("arctan2",)),
        *_rows("fmio", _T.logit, _T.xlogy),
        *_rows("fmo", _T.logaddexp, _T.logaddexp2),
    ),
    "comparison": (
        Row(_C.ne, "fmio", ("not_equal",)),
        Row(_C.lt, "fmio", ("less",)),
        Row(_C.le, "fmio", ("less_equal",)),
        Row(_C.gt, "fmio", ("greater",)),
        Row(_C.ge, "fmio", ("greater_equal",)),
        *_rows(
            "fmio", _C.eq, _C.logical_and, _C.logical_or, _C.logical_xor, _C.logical_not,
            _C.bitwise_and, _C.bitwise_or, _C.bitwise_xor, _C.bitwise_not,
            _C.bitwise_left_shift, _C.bitwise_right_shift,
        ),
        *_rows("fm", _C.isnan, _C.isinf, _C.isfinite, _C.isclose, _C.allclose, _C.equal),
        *_rows("fmo", _C.isposinf, _C.isneginf, _C.signbit),
        *_rows("f", _C.where),
    ),
    "reductions": (
        *_rows(
            "fmo", _R.sum, _R.prod, _R.mean, _R.var, _R.std, _R.amax, _R.amin, _R.max, _R.min,
            _R.argmax, _R.argmin, _R.any, _R.all, _R.logsumexp, _R.norm, _R.nansum, _R.nanmean,
            _R.cummax, _R.cummin, _R.logcumsumexp, _R.aminmax,
        ),
        *_rows("fmio", _R.cumsum, _R.cumprod),
        *_rows("fm", _R.count_nonzero, _R.dist, _R.diff, _R.softmax, _R.log_softmax),
        *_rows("f", _R.var_mean, _R.std_mean),
    ),
    "ordering": (
        *_rows(
            "fmo", ordering.sort, ordering.topk, ordering.kthvalue, ordering.msort,
            ordering.masked_select,
        ),
        *_rows(
            "fm", ordering.argsort, ordering.median, ordering.nonzero, ordering.argwhere,
            ordering.unique, ordering.bincount, ordering.histc,
        ),
        *_rows("f", ordering.searchsorted, ordering.bucketize, ordering.isin),
    ),
    "views": (
        Row(_V.transpose, "fmv", ("swapaxes", "swapdims")),
        *_rows("fmv", _V.squeeze, _V.unsqueeze, _V.t),
        Row(_V.movedim, "fm", ("moveaxis",)),
        *_rows(
            "fm", _V.reshape, _V.ravel, _V.flatten, _V.unflatten, _V.permute, _V.narrow,
            _V.select, _V.split, _V.chunk, _V.tensor_split, _V.unbind, _V.diagonal, _V.as_strided,
            _V.clone, _V.detach, _V.broadcast_to,
        ),
        *_rows(
            "m", _V.view, _V.view_as, _V.reshape_as, _V.expand, _V.expand_as, _V.unfold,
            _V.contiguous,
        ),
        *_rows("f", _V.atleast_1d, _V.atleast_2d, _V.atleast_3d),
    ),
    "joining": (
        Row(joining.cat, "fo", ("concat", "concatenate")),
        Row(joining.vstack, "fo", ("row_stack",)),
        *_rows("fo", joining.stack, joining.hstack, joining.dstack, joining.column_stack),
        *_rows(
            "fm", joining.repeat_interleave, joining.flip, joining.fliplr, joining.flipud,
            joining.roll, joining.rot90, joining.tile, joining.diag_embed, joining.diagflat,
            joining.trace,
        ),
        *_rows("m", joining.repeat),
        *_rows("fmio", joining.tril, joining.triu),
        *_rows("fmo", joining.diag, joining.kron),
        *_rows("f", joining.broadcast_tensors, joining.meshgrid, joining.cartesian_prod),
    ),
    "contraction": (
        *_rows(
            "fmo", contraction.matmul, contraction.mm, contraction.bmm, contraction.mv,
            contraction.dot, contraction.inner,
        ),
        Row(contraction.outer, "fmo", ("ger",)),
        *_rows(
            "fmio", contraction.addmm, contraction.addmv, contraction.addr, contraction.baddbmm,
            contraction.addbmm,
        ),
        *_rows("f", contraction.einsum, contraction.tensordot),
    ),
    "indexing": (
        *_rows(
            "fmo", indexing.gather, indexing.index_select, indexing.take, indexing.take_along_dim,
        ),
        *_rows(
            "fmi", indexing.scatter, indexing.scatter_add, indexing.index_add, indexing.index_copy,
            indexing.index_fill, indexing.index_put, indexing.masked_fill,
        ),
    ),
    "creation": (
        *_rows(
            "f", creation.tensor, creation.as_tensor, creation.from_numpy, creation.frombuffer,
            creation.from_dlpack,
            creation.zeros_like, creation.ones_like, creation.empty_like, creation.full_like,
            creation.scalar_tensor, creation.tril_indices, creation.triu_indices,
        ),
        *_rows(
            "fo", creation.zeros, creation.ones, creation.empty, creation.full, creation.arange,
            creation.range, creation.linspace, creation.logspace, creation.eye,
        ),
        *_rows(
            "i", creation.fill, creation.zero,
        ),
        *_rows(
            "m", creation.new_zeros, creation.new_ones, creation.new_empty, creation.new_full,
            creation.new_tensor, creation.new,
        ),
    ),
    "draws": (
        *_rows("fo", draws.rand, draws.randn, draws.randint, draws.randperm, draws.normal),
        *_rows("f", draws.rand_like, draws.randn_like, draws.randint_like),
        *_rows("fm", draws.multinomial),
        *_rows("fmi", draws.bernoulli),
        Row(draws.normal_of, "i", public="normal"),
        *_rows("i", draws.uniform, draws.exponential, draws.random),
    ),
}  # fmt: skip
