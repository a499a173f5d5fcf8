"""Convolution layers."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from smelt.functions.creation import empty
from smelt.ir.dtypes import DType
from smelt.nn import functional as F
from smelt.nn import init
from smelt.nn.functional.convolution import Sizes, spatial
from smelt.nn.module import Module
from smelt.nn.parameter import Parameter
from smelt.tensor import Tensor


class _Convolution(Module):
    """What all convolutions share: sizes, weights, their initial values, printing."""

    rank: ClassVar[int]
    transposed: ClassVar[bool] = False

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Sizes,
        stride: Sizes,
        padding: Sizes | str,
        dilation: Sizes,
        groups: int,
        bias: bool,
        padding_mode: str,
        output_padding: Sizes,
        device: Any,
        dtype: DType | None,
    ) -> None:
        super().__init__()
        name = self._get_name()
        if groups <= 0:
            raise ValueError("groups must be a positive integer")
        if in_channels % groups:
            raise ValueError("in_channels must be divisible by groups")
        if out_channels % groups:
            raise ValueError("out_channels must be divisible by groups")
        if isinstance(padding, str) and padding not in ("same", "valid"):
            raise ValueError(
                f"Invalid padding string {padding!r}, should be one of {{'same', 'valid'}}"
            )
        if padding_mode not in ("zeros", "reflect", "replicate", "circular"):
            raise ValueError(
                "padding_mode must be one of {'zeros', 'reflect', 'replicate', 'circular'}, but "
                f"got padding_mode='{padding_mode}'"
            )
        rank = self.rank
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = spatial(kernel_size, rank, "kernel_size", name)
        self.stride = spatial(stride, rank, "stride", name)
        self.padding = padding if isinstance(padding, str) else spatial(padding, rank, "", name)
        self.dilation = spatial(dilation, rank, "dilation", name)
        self.output_padding = spatial(output_padding, rank, "output_padding", name)
        self.groups = groups
        self.padding_mode = padding_mode
        if padding == "same" and any(s != 1 for s in self.stride):
            raise ValueError("padding='same' is not supported for strided convolutions")
        outer, inner = (
            (in_channels, out_channels) if self.transposed else (out_channels, in_channels)
        )
        shape = (outer, inner // groups, *self.kernel_size)
        self.weight = Parameter(empty(*shape, device=device, dtype=dtype))
        if bias:
            self.bias = Parameter(empty(out_channels, device=device, dtype=dtype))
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weight and bias from U(-b, b), b = 1 / sqrt(fan_in)."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            fan_in, _ = init.fans(self.weight)
            if fan_in:
                bound = 1 / math.sqrt(fan_in)
                init.uniform_(self.bias, -bound, bound)

    def extra_repr(self) -> str:
        """Return the sizes that are not the default."""
        rank = self.rank
        parts = [
            f"{self.in_channels}, {self.out_channels}",
            f"kernel_size={self.kernel_size}",
            f"stride={self.stride}",
        ]
        if self.padding != (0,) * rank:
            parts.append(f"padding={self.padding}")
        if self.dilation != (1,) * rank:
            parts.append(f"dilation={self.dilation}")
        if self.output_padding != (0,) * rank:
            parts.append(f"output_padding={self.output_padding}")
        if self.groups != 1:
            parts.append(f"groups={self.groups}")
        if self.bias is None:
            parts.append("bias=False")
        if self.padding_mode != "zeros":
            parts.append(f"padding_mode={self.padding_mode}")
        return ", ".join(parts)


class _Forward(_Convolution):
    """A convolution with the arguments of `Conv2d`."""

    function: ClassVar[Callable[..., Tensor]]

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Sizes,
        stride: Sizes = 1,
        padding: Sizes | str = 0,
        dilation: Sizes = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: DType | None = None,
    ) -> None:
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            dilation,
            groups,
            bias,
            padding_mode,
            0,
            device,
            dtype,
        )

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        padding = self.padding
        if self.padding_mode != "zeros":
            input = F.pad(input, self._border(), mode=self.padding_mode)
            padding = 0
        function = type(self).function
        return function(input, weight, bias, self.stride, padding, self.dilation, self.groups)

    def _border(self) -> list[int]:
        sides: list[int] = []
        for k in reversed(range(self.rank)):
            if isinstance(self.padding, str):
                total = self.dilation[k] * (self.kernel_size[k] - 1)
                total = total if self.padding == "same" else 0
                sides += [total // 2, total - total // 2]
            else:
                sides += [self.padding[k]] * 2
        return sides

    def forward(self, input: Tensor) -> Tensor:
        """Convolve [N, in_channels, ...] to [N, out_channels, ...]."""
        return self._conv_forward(input, self.weight, self.bias)


class Conv1d(_Forward):
    """Convolution of [N, C, L]; weight [out, in / groups, K]."""

    rank = 1
    function = staticmethod(F.conv1d)


class Conv2d(_Forward):
    """Convolution of [N, C, H, W]; weight [out, in / groups, KH, KW]."""

    rank = 2
    function = staticmethod(F.conv2d)


class Conv3d(_Forward):
    """Convolution of [N, C, D, H, W]; weight [out, in / groups, KD, KH, KW]."""

    rank = 3
    function = staticmethod(F.conv3d)


class _Transposed(_Convolution):
    """A transposed convolution with the arguments of `ConvTranspose2d`."""

    transposed = True
    function: ClassVar[Callable[..., Tensor]]

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Sizes,
        stride: Sizes = 1,
        padding: Sizes = 0,
        output_padding: Sizes = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Sizes = 1,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: DType | None = None,
    ) -> None:
        if padding_mode != "zeros":
            raise ValueError(f'Only "zeros" padding mode is supported for {type(self).__name__}')
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            dilation,
            groups,
            bias,
            padding_mode,
            output_padding,
            device,
            dtype,
        )

    def forward(self, input: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        """Map [N, in_channels, ...] to [N, out_channels, ...], of `output_size` if it is given."""
        extra = self.output_padding
        if output_size is not None:
            extra = self._output_padding(input, list(output_size))
        function = type(self).function
        return function(
            input,
            self.weight,
            self.bias,
            self.stride,
            self.padding,
            extra,
            self.groups,
            self.dilation,
        )

    def _output_padding(self, input: Tensor, output_size: list[int]) -> tuple[int, ...]:
        rank = self.rank
        wanted = output_size[-rank:]
        if isinstance(self.padding, str):
            raise AssertionError("a transposed convolution has padding in numbers")
        found: list[int] = []
        for k in range(rank):
            least = (
                (input.shape[k - rank] - 1) * self.stride[k]
                - 2 * self.padding[k]
                + self.dilation[k] * (self.kernel_size[k] - 1)
                + 1
            )
            if not least <= wanted[k] < least + self.stride[k]:
                raise ValueError(
                    f"requested an output size of {output_size}, but valid sizes of dimension {k} "
                    f"range from {least} to {least + self.stride[k] - 1}"
                )
            found.append(wanted[k] - least)
        return tuple(found)


class ConvTranspose1d(_Transposed):
    """The transpose of `Conv1d`; weight [in, out / groups, K]."""

    rank = 1
    function = staticmethod(F.conv_transpose1d)


class ConvTranspose2d(_Transposed):
    """The transpose of `Conv2d`; weight [in, out / groups, KH, KW]."""

    rank = 2
    function = staticmethod(F.conv_transpose2d)


class ConvTranspose3d(_Transposed):
    """The transpose of `Conv3d`; weight [in, out / groups, KD, KH, KW]."""

    rank = 3
    function = staticmethod(F.conv_transpose3d)
