"""Devices: where a tensor's memory is and where its programs run."""

from __future__ import annotations

from smelt.ir.errors import SmeltError

_TYPES = ("cpu", "cuda")


class DeviceError(SmeltError, RuntimeError):
    """A device does not exist, or not here."""


class device:
    """A device, such as `device("cpu")` or `device("cuda", 0)`; immutable, compared by value.

    Attributes:
        type: "cpu" or "cuda".
        index: its number; None: the current one of its type.
    """

    __slots__ = ("index", "type")
    __match_args__ = ("type", "index")

    type: str
    index: int | None

    def __init__(self, type: str | device | int, index: int | None = None) -> None:
        """Name a device.

        Args:
            type: "cpu", "cuda", either with ":" and a number, a device, or the number of a GPU.
            index: its number, where `type` holds none.

        Raises:
            DeviceError: there is no such type of device.
        """
        if isinstance(type, device):
            type, index = type.type, type.index if index is None else index
        elif isinstance(type, int) and not isinstance(type, bool):
            type, index = "cuda", type
        elif not isinstance(type, str):
            raise TypeError(f"device expects a string, a device or an int, got {type!r}")
        name, colon, number = type.partition(":")
        if name not in _TYPES:
            raise DeviceError(f"no device type {name!r}: expected one of {', '.join(_TYPES)}")
        if colon:
            if index is not None:
                raise DeviceError(f"device number given twice: {type!r} and {index}")
            if not (number.isascii() and number.isdigit()):
                raise DeviceError(f"invalid device string: {type!r}")
            index = int(number)
        if index is not None and (index < 0 or (name == "cpu" and index > 0)):
            raise DeviceError(f"there is no {name} device number {index}")
        object.__setattr__(self, "type", name)
        object.__setattr__(self, "index", index)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"device is immutable: cannot set {name!r}")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"device is immutable: cannot delete {name!r}")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, device):
            return NotImplemented
        return self.type == other.type and self.index == other.index

    def __hash__(self) -> int:
        return hash((self.type, self.index))

    def __repr__(self) -> str:
        number = "" if self.index is None else f", index={self.index}"
        return f"device(type={self.type!r}{number})"

    def __str__(self) -> str:
        return self.type if self.index is None else f"{self.type}:{self.index}"

    def __reduce__(self) -> tuple[object, ...]:
        return (device, (self.type, self.index))


CPU = device("cpu")


def require(wanted: str | int | device | None) -> device:
    """Return the device if tensors can be made on it; None means the CPU.

    Raises:
        DeviceError: it is a GPU, for which this smelt runs no programs yet.
    """
    if wanted is None:
        return CPU
    found = wanted if isinstance(wanted, device) else device(wanted)
    if found.type == "cuda":
        raise DeviceError(
            f"device {str(found)!r} is not available: this version of smelt runs on the CPU and "
            "only emits CUDA kernels as source; use device='cpu'"
        )
    return found
