"""The structured definitions of convolution and its gradients: sums of products over windows."""

from __future__ import annotations

from smelt.ir import scalar
from smelt.ir.dim import Dim
from smelt.ir.dtypes import DType
from smelt.ir.loop.builder import plus, times
from smelt.ir.ops.sliding import Window, covered, covering, within
from smelt.ir.scalar import Const, Expr, Read
from smelt.ir.structured import Reader, Stage, accumulated, monoid
from smelt.ir.types import Shape, TensorType


def conv_stage(window: Window, x: TensorType, w: TensorType, out: TensorType) -> Stage:
    """Return the convolution of x by w, over axes n, o, *out and the reduced i, *kernel."""
    d = x.rank - 2
    n, o, i = scalar.axis(0), scalar.axis(1), scalar.axis(2 + d)
    kernel = tuple(scalar.axis(3 + d + k) for k in range(d))
    places = tuple(scalar.axis(2 + k) for k in range(d))
    channel = _channel(window, o, i, w.shape[1], w.shape[0])
    first = _window_reader(window, n, channel, places, kernel, x)
    return _product_stage((*out.shape, *w.shape[1:]), first, Reader(1, (o, i, *kernel)), x.dtype)


def weight_grad_stage(window: Window, x: TensorType, g: TensorType, out: TensorType) -> Stage:
    """Return the weight's cotangent, over axes o, i, *kernel and the reduced n, *out."""
    d = x.rank - 2
    o, i, n = scalar.axis(0), scalar.axis(1), scalar.axis(2 + d)
    kernel = tuple(scalar.axis(2 + k) for k in range(d))
    places = tuple(scalar.axis(3 + d + k) for k in range(d))
    channel = _channel(window, o, i, out.shape[1], out.shape[0])
    first = _window_reader(window, n, channel, places, kernel, x)
    domain = (*out.shape, x.shape[0], *g.shape[2:])
    return _product_stage(domain, first, Reader(1, (n, o, *places)), x.dtype)


def input_grad_stage(window: Window, g: TensorType, w: TensorType, out: TensorType) -> Stage:
    """Return the input's cotangent, over axes n, c, *spatial and the reduced o, *kernel."""
    d = g.rank - 2
    n, c, j = scalar.axis(0), scalar.axis(1), scalar.axis(2 + d)
    kernel = tuple(scalar.axis(3 + d + k) for k in range(d))
    rows = w.shape[0] // window.groups
    o, i = j, c
    if window.groups > 1:
        group = scalar.apply("floordiv", c, scalar.of_dim(w.shape[1]))
        o = plus(times(group, scalar.of_dim(rows)), j)
        i = scalar.apply("mod", c, scalar.of_dim(w.shape[1]))
    met = [covering(scalar.axis(2 + k), kernel[k], *window.at(k), g.shape[2 + k]) for k in range(d)]
    inside = scalar.conjunction(*(when for _, when in met))
    first = Reader(0, (n, o, *(place for place, _ in met)), inside, Const(0.0, g.dtype))
    domain = (*out.shape, rows, *w.shape[2:])
    return _product_stage(domain, first, Reader(1, (o, i, *kernel)), g.dtype)


def _channel(
    window: Window, out_channel: Expr, inner: Expr, each: int | Dim, outputs: int | Dim
) -> Expr:
    """Return the input channel that is number `inner` of the `each` in `out_channel`'s group."""
    if window.groups == 1:
        return inner
    rows = outputs // window.groups
    group = out_channel
    if rows != 1:
        group = scalar.apply("floordiv", out_channel, scalar.of_dim(rows))
    return plus(times(group, scalar.of_dim(each)), inner)


def _window_reader(
    window: Window,
    n: Expr,
    channel: Expr,
    places: tuple[Expr, ...],
    kernel: tuple[Expr, ...],
    x: TensorType,
) -> Reader:
    """Return the reader of x under the windows at `places`, 0 in the padding."""
    positions = tuple(
        covered(place, offset, *window.at(k))
        for k, (place, offset) in enumerate(zip(places, kernel))
    )
    inside = scalar.conjunction(
        *(
            within(position, extent)
            for position, extent, padding in zip(positions, x.shape[2:], window.padding)
            if padding > 0
        )
    )
    fill = None if inside is None else Const(0.0, x.dtype)
    return Reader(0, (n, channel, *positions), inside, fill)


def _product_stage(domain: Shape, first: Reader, second: Reader, dtype: DType) -> Stage:
    """Return the stage that sums products of two readers over the second half of the axes."""
    work = dtype.accumulator
    body = scalar.apply("mul", scalar.cast(Read(0, dtype), work), scalar.cast(Read(1, dtype), work))
    finish = (scalar.cast(accumulated(0, work), dtype),) if work is not dtype else ()
    axes = tuple(range((len(domain) + 1) // 2, len(domain)))
    return Stage(domain, (first, second), (body,), axes, monoid("add", work), finish)
