"""Generated CUDA kernels in numba's simulator, where the `cuda` extra is installed."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import numpy as np
from tests.codegen.cuda import kernels
from numba import cuda
from smelt.codegen.cuda.build import build
from smelt.codegen.cuda.emit import emit_kernel
from tests.codegen.cuda.test_emit import arguments
from smelt.ir.loop.interpreter import run_kernel

for name, kernel in kernels.bound().items():
    sizes = dict.fromkeys(kernel.sizes, 3)
    given = arguments(kernel, sizes)
    expected = [a.copy() for a in given]
    run_kernel(kernel, expected, sizes)
    device = [cuda.to_device(a.reshape(-1)) for a in given]
    with np.errstate(all="ignore"):
        assert build(emit_kernel(kernel), kernel)(device, sizes) is None
    for array, want in zip(device, expected):
        np.testing.assert_allclose(array.copy_to_host().reshape(want.shape), want, rtol=1e-5)
    print(name, "agrees")

take = kernels.bound()["take"]
x, at, out = arguments(take, {})
at[7] = 77
device = [cuda.to_device(a) for a in (x, at, out)]
assert build(emit_kernel(take), take)(device) == (1, 77, 10)
"""


@pytest.mark.skipif(importlib.util.find_spec("numba") is None, reason="needs the cuda extra")
def test_kernels_run_in_the_simulator() -> None:
    root = str(Path(__file__).parents[3])
    paths = [root, os.environ.get("PYTHONPATH", "")]
    environment = {
        **os.environ, "NUMBA_ENABLE_CUDASIM": "1", "PYTHONPATH": os.pathsep.join(paths),
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
