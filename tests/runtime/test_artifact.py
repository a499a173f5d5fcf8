from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from smelt.ir import dtypes
from smelt.ir.dim import symbol
from smelt.runtime import ArtifactError, DiskCache, artifact
from smelt.runtime.executable import Executable
from smelt.runtime.signature import Signature, Slot

from tests.runtime.programs import CHECKED, DOUBLE, executable, keeping, slot


def program() -> Executable:
    n = symbol("n")
    vector = slot(dtypes.float32, n)
    signature = Signature("double", (vector,), (vector,), (n + 3) // 2 * n % 7, ("n",))
    return executable(DOUBLE, signature, (np.float32([3]),))


def test_an_executable_survives_being_saved(tmp_path: Path) -> None:
    original = program()
    artifact.save(original, tmp_path / "double.smelt")
    loaded = artifact.load(tmp_path / "double.smelt")
    assert loaded.signature == original.signature
    assert loaded.native == original.native
    assert artifact.to_bytes(loaded) == artifact.to_bytes(original)
    x = np.arange(100, dtype=np.float32)
    (expected,), (result,) = original(x), loaded(x)
    np.testing.assert_array_equal(result, expected)


def test_what_is_kept_survives() -> None:
    original = keeping()
    loaded = artifact.from_bytes(artifact.to_bytes(original))
    assert loaded.signature == original.signature
    x = np.arange(4, dtype=np.float32)
    np.testing.assert_array_equal(loaded(x)[0], original(x)[0])


def test_every_dtype_and_kind_of_constant_survives() -> None:
    constants = tuple(np.ones((2, k), d.numpy) for k, d in enumerate(dtypes.ALL))
    scalar = np.array(1.5, dtypes.bfloat16.numpy)
    one = Slot(dtypes.int64, (1,), (1,))
    original = executable(CHECKED, Signature("c", (one,), (one,)), (*constants, scalar))
    loaded = artifact.from_bytes(artifact.to_bytes(original))
    for before, after in zip(original.constants, loaded.constants):
        assert before.dtype == after.dtype and before.shape == after.shape
        assert before.tobytes() == after.tobytes()
        assert after.ctypes.data % 64 == 0


@pytest.mark.parametrize("position", [0, 9, 20, 100, -1])
def test_damage_is_found(position: int) -> None:
    data = bytearray(artifact.to_bytes(program()))
    data[position] ^= 1
    with pytest.raises(ArtifactError):
        artifact.from_bytes(bytes(data))
    with pytest.raises(ArtifactError):
        artifact.from_bytes(bytes(data[: len(data) // 2]))
    with pytest.raises(ArtifactError, match="too short"):
        artifact.from_bytes(b"smelt")


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("PROTOCOL", 0, "speaks protocol 0"),
        ("host_platform", lambda: "Plan9 pdp11", "is for Plan9 pdp11"),
        ("host_features", lambda: frozenset({"warp"}), "lacks: warp"),
    ],
)
def test_what_cannot_run_here_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, value: object, message: str
) -> None:
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(artifact, name, value)
        data = artifact.to_bytes(program())
    with pytest.raises(ArtifactError, match=message):
        artifact.from_bytes(data)
    cache = DiskCache(tmp_path)
    cache.put("a" * 64, data)
    assert artifact.load_cached(cache, "a" * 64) is None
    assert cache.get("a" * 64) is None


def test_a_cached_executable_is_found_again(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path)
    assert artifact.load_cached(cache, "b" * 64) is None
    artifact.store_cached(cache, "b" * 64, program())
    found = artifact.load_cached(cache, "b" * 64)
    assert found is not None and found.signature == program().signature


ALONE = """
import sys
sys.modules["llvmlite"] = None  # importing it fails
import numpy as np
from smelt.runtime import artifact
program = artifact.load(sys.argv[1])
(y,) = program(np.arange(1000, dtype=np.float32))
assert (y == 2 * np.arange(1000) + 3).all()
print("ran without LLVM")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="other systems load objects through LLVM")
def test_a_saved_executable_needs_no_llvm(tmp_path: Path) -> None:
    artifact.save(program(), tmp_path / "p")
    done = subprocess.run(
        [sys.executable, "-c", ALONE, str(tmp_path / "p")],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.stdout, done.stderr) == ("ran without LLVM\n", "")
