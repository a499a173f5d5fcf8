"""The printed form of tensors: PyTorch's, so that transcripts stay as they are."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from smelt.ir.dtypes import DType, Kind
from smelt.state import settings

if TYPE_CHECKING:
    from smelt.attributes import Attributes

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class PrintOptions:
    """How tensors are printed.

    Attributes:
        precision: digits after the point.
        threshold: number of elements above which only edges are shown.
        edgeitems: number of elements at each edge of a dimension that is cut.
        linewidth: characters a line.
        sci_mode: whether numbers have exponents; None: where the range asks for it.
    """

    precision: int = 4
    threshold: float = 1000
    edgeitems: int = 3
    linewidth: int = 80
    sci_mode: bool | None = None


_PROFILES = {
    "default": PrintOptions(),
    "short": PrintOptions(precision=2, edgeitems=2),
    "full": PrintOptions(threshold=math.inf),
}
_current = [PrintOptions()]


def set_printoptions(
    precision: int | None = None,
    threshold: float | None = None,
    edgeitems: int | None = None,
    linewidth: int | None = None,
    profile: str | None = None,
    sci_mode: bool | None = None,
) -> None:
    """Set how tensors are printed; a profile ("default", "short", "full") first, then the rest."""
    options = _current[0] if profile is None else _PROFILES[profile]
    given = {
        "precision": precision,
        "threshold": threshold,
        "edgeitems": edgeitems,
        "linewidth": linewidth,
    }
    changed: dict[str, Any] = {k: v for k, v in given.items() if v is not None}
    _current[0] = replace(options, sci_mode=sci_mode, **changed)


def get_printoptions() -> PrintOptions:
    """Return how tensors are printed."""
    return _current[0]


@dataclass(frozen=True)
class Style:
    """How the numbers of one tensor are written, all with one width."""

    kind: Kind
    width: int
    whole: bool
    exponents: bool
    precision: int

    def text(self, value: Any) -> str:
        """Return one number."""
        return self._bare(value).rjust(self.width)

    def _bare(self, value: Any) -> str:
        if self.kind is not Kind.FLOAT:
            return str(value)
        if self.exponents:
            return f"{value:.{self.precision}e}"
        if self.whole:
            return f"{value:.0f}" + ("." if math.isfinite(value) else "")
        return f"{value:.{self.precision}f}"


def _style(values: Array, kind: Kind, options: PrintOptions) -> Style:
    if kind is not Kind.FLOAT:
        width = max([len(str(v)) for v in values.reshape(-1).tolist()], default=1)
        return Style(kind, width, True, False, options.precision)
    wide = values.astype(np.float64).reshape(-1)
    shown = wide[np.isfinite(wide) & (wide != 0)]
    if not shown.size:
        # Zeros print as `0.`, one character wider than an empty column would be.
        return Style(kind, 1, True, bool(options.sci_mode), options.precision)
    size = np.abs(shown)
    least, most = float(size.min()), float(size.max())
    whole = bool((shown == np.ceil(shown)).all())
    exponents = options.sci_mode
    if exponents is None:
        exponents = most / least > 1000.0 or most > 1.0e8 or (not whole and least < 1.0e-4)
    draft = Style(kind, 0, whole, exponents, options.precision)
    width = max(len(draft.text(v)) for v in shown.tolist())
    return replace(draft, width=max(width, 1))


def _edges(values: Array, options: PrintOptions) -> Array:
    """Return the elements that are shown of a tensor that is cut."""
    for axis, size in enumerate(values.shape):
        if size > 2 * options.edgeitems:
            keep = [*range(options.edgeitems), *range(size - options.edgeitems, size)]
            values = np.take(values, keep, axis)
    return values


def _body(values: Array, indent: int, cut: bool, style: Style, options: PrintOptions) -> str:
    if values.ndim == 0:
        return style.text(values.item())
    edge = options.edgeitems
    cut_here = cut and values.shape[0] > 2 * edge
    kept = [*values[:edge], *values[values.shape[0] - edge :]] if cut_here else list(values)
    if values.ndim == 1:
        texts = [style.text(v.item()) for v in kept]
        if cut_here:
            texts[edge:edge] = [" ..."]
        a_line = max(1, int((options.linewidth - indent) / (style.width + 2)))
        lines = [", ".join(texts[k : k + a_line]) for k in range(0, len(texts), a_line)]
        return "[" + (",\n" + " " * (indent + 1)).join(lines) + "]"
    parts = [_body(v, indent + 1, cut, style, options) for v in kept]
    if cut_here:
        parts[edge:edge] = ["..."]
    separator = "," + "\n" * (values.ndim - 1) + " " * (indent + 1)
    return "[" + separator.join(parts) + "]"


def dtype_text(dtype: DType) -> str:
    """Return a dtype as transcripts show it."""
    return f"torch.{dtype.torch_name}"


def text_of(x: Attributes, prefix: str = "tensor(") -> str:
    """Return the printed form of a tensor."""
    options = _current[0]
    values = x._concrete("repr() prints its elements")
    suffixes: list[str] = []
    known = x.dtype is settings.default_dtype or (
        values.size > 0 and x.dtype.torch_name in ("int64", "bool")
    )
    if not values.size:
        body = "[]"
        if values.ndim != 1:
            suffixes.append(f"size={tuple(values.shape)}")
    else:
        if x.dtype.is_half:
            values = values.astype(np.float32)
        cut = values.size > options.threshold
        style = _style(_edges(values, options) if cut else values, x.dtype.kind, options)
        body = _body(values, len(prefix), cut, style, options)
    if not known:
        suffixes.append(f"dtype={dtype_text(x.dtype)}")
    if x.grad_fn is not None:
        suffixes.append(f"grad_fn=<{x.grad_fn.name()}>")
    elif x.requires_grad:
        suffixes.append("requires_grad=True")
    return _joined(prefix + body, suffixes, len(prefix), options)


def _joined(text: str, suffixes: list[str], indent: int, options: PrintOptions) -> str:
    used = len(text) - text.rfind("\n") + 1
    for suffix in suffixes:
        if used + len(suffix) + 2 > options.linewidth:
            text += ",\n" + " " * indent + suffix
            used = indent + len(suffix)
        else:
            text += ", " + suffix
            used += len(suffix) + 2
    return text + ")"
