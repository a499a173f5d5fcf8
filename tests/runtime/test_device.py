from __future__ import annotations

import copy
import pickle

import pytest
from smelt.runtime.device import CPU, DeviceError, device, require


def test_devices_are_values() -> None:
    assert device("cuda:1") == device("cuda", 1) == device(1)
    assert device("cuda") != device("cuda:0")
    assert len({device("cpu"), device("cpu"), device(CPU)}) == 1
    assert str(device("cuda:2")) == "cuda:2" and str(CPU) == "cpu"
    assert repr(device("cuda:2")) == "device(type='cuda', index=2)"
    assert repr(CPU) == "device(type='cpu')"
    assert pickle.loads(pickle.dumps(device("cuda:1"))) == copy.deepcopy(device("cuda:1"))
    with pytest.raises(AttributeError, match="immutable"):
        CPU.type = "cuda"


@pytest.mark.parametrize(
    ("name", "index", "message"),
    [
        ("tpu", None, "no device type 'tpu': expected one of cpu, cuda"),
        ("cuda:one", None, "invalid device string"),
        ("cuda:", None, "invalid device string"),
        ("cuda:1", 1, "given twice"),
        ("cpu:1", None, "no cpu device number 1"),
        ("cuda", -1, "no cuda device number -1"),
    ],
)
def test_devices_that_do_not_exist(name: str, index: int | None, message: str) -> None:
    with pytest.raises(DeviceError, match=message):
        device(name, index)


def test_only_the_cpu_is_available() -> None:
    assert require(None) == require("cpu") == CPU
    with pytest.raises(RuntimeError, match=r"'cuda:0' is not available"):
        require("cuda:0")
    with pytest.raises(TypeError, match="expects a string"):
        device(1.5)  # type: ignore[arg-type]
