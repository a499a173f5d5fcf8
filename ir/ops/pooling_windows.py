"""What the pools over sliding windows share: checks, shapes, index maps and sample windows."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from smelt.ir import scalar
from smelt.ir.loop.builder import minus
from smelt.ir.ops import expect
from smelt.ir.ops.sliding import Ints, Window, check_numbers, covered, covering, out_extent, within
from smelt.ir.scalar import Expr
from smelt.ir.types import Shape, TensorType


def check_window(op: str, x: TensorType, kernel: Ints, window: Window) -> None:
    """Require a window that fits the spatial dimensions of x[n, c, *spatial]."""
    expect.at_least_rank(op, 3, x=x)
    expect.floating(op, x=x)
    check_numbers(
        op,
        x.rank,
        kernel=kernel,
        stride=window.stride,
        padding=window.padding,
        dilation=window.dilation,
    )
    fits = all(2 * p <= k for p, k in zip(window.padding, kernel))
    expect.argument(op, fits, f"padding {window.padding} is more than half of the kernel {kernel}")


def out_shape(op: str, spatial: Shape, kernel: Ints, window: Window, ceil_mode: bool) -> Shape:
    """Return the spatial shape of the result."""
    return tuple(
        out_extent(op, extent, kernel[k], *window.at(k), ceil_mode)
        for k, extent in enumerate(spatial)
    )


def overhangs(spatial: Shape, out: Shape, kernel: Ints, window: Window) -> tuple[bool, ...]:
    """Tell for each spatial dimension whether some window leaves x."""
    found: list[bool] = []
    for k, (extent, count) in enumerate(zip(spatial, out)):
        stride, padding, dilation = window.at(k)
        reach = (count - 1) * stride + dilation * (kernel[k] - 1) + 1
        over = isinstance(reach, int) and isinstance(extent, int) and reach > extent
        found.append(padding > 0 or over)
    return tuple(found)


def covered_positions(
    spatial: Shape, out: Shape, kernel: Ints, window: Window
) -> tuple[tuple[Expr, ...], Expr | None]:
    """Return the input positions that output position and offset meet, and when they are in x."""
    d = len(spatial)
    positions = tuple(
        covered(scalar.axis(2 + k), scalar.axis(2 + d + k), *window.at(k)) for k in range(d)
    )
    over = overhangs(spatial, out, kernel, window)
    checks = [within(p, n) for p, n, leaves in zip(positions, spatial, over) if leaves]
    return positions, scalar.conjunction(*checks)


def covering_positions(
    out: Shape, kernel: Ints, window: Window
) -> tuple[tuple[Expr, ...], Expr | None]:
    """Return the output positions that input position and offset meet, and when there is one.

    Offsets run backwards, so that output positions are met in ascending order.
    """
    d = len(out)
    met = [
        covering(
            scalar.axis(2 + k), minus(kernel[k] - 1, scalar.axis(2 + d + k)), *window.at(k), out[k]
        )
        for k in range(d)
    ]
    return tuple(place for place, _ in met), scalar.conjunction(*(when for _, when in met))


def kernel_axes(rank: int) -> tuple[int, ...]:
    """Return the axes that run over the kernel, for x of that rank."""
    return tuple(range(rank, 2 * rank - 2))


def sample_windows() -> Iterable[tuple[Ints, dict[str, Any]]]:
    """Yield shapes of x with windows, dilation left out."""
    yield (2, 2, 4, 4), {"kernel": (2, 2), "stride": (2, 2), "padding": (0, 0)}
    yield (1, 2, 5, 4), {"kernel": (3, 2), "stride": (2, 1), "padding": (1, 1)}
    yield (1, 1, 5, 5), {"kernel": (2, 3), "stride": (2, 2), "padding": (1, 0), "ceil_mode": True}
    yield (2, 1, 7), {"kernel": (3,), "stride": (3,), "padding": (1,), "ceil_mode": True}
    yield (1, 1, 2, 3, 2), {"kernel": (2, 2, 1), "stride": (1, 1, 1), "padding": (0, 1, 0)}
    yield (0, 2, 3, 3), {"kernel": (2, 2), "stride": (1, 1), "padding": (0, 0)}
