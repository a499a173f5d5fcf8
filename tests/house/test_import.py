"""Importing smelt is cheap."""

from __future__ import annotations

import subprocess
import sys


def run(code: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout


def test_import_loads_neither_llvm_nor_networkx() -> None:
    heavy = "{'llvmlite', 'networkx', 'numba', 'torch', 'multiprocessing', 'sklearn'}"
    loaded = run(f"import smelt, sys; print(sorted({heavy} & set(sys.modules)))")
    assert loaded.strip() == "[]"
