"""Imports point one way, and the wheel holds every package of the tree."""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = {
    "ir": "smelt.ir",
    "passes": "smelt.passes",
    "codegen": "smelt.codegen",
    "runtime": "smelt.runtime",
    "frontend": "smelt",
}
MAY_IMPORT = {
    "ir": {"ir"},
    "passes": {"ir", "passes"},
    "codegen": {"ir", "codegen"},
    "runtime": {"ir", "runtime"},
    "frontend": set(FOLDERS),
}


def layer_of(module: str) -> str | None:
    """Return the folder that a module of smelt lives in; None for other projects' modules."""
    if module != "smelt" and not module.startswith("smelt."):
        return None
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in FOLDERS else "frontend"


def imports(path: Path) -> list[tuple[int, str]]:
    """Return (line, module) of every import in a file, those inside functions included."""
    found: list[tuple[int, str]] = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            base = node.module or ""
            if base == "smelt":
                found += [(node.lineno, f"smelt.{alias.name}") for alias in node.names]
            else:
                found.append((node.lineno, base))
    return found


@pytest.mark.parametrize("folder", FOLDERS)
def test_arrows_point_one_way(folder: str) -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{line}: imports {module}"
        for path in sorted((ROOT / folder).rglob("*.py"))
        for line, module in imports(path)
        if (layer := layer_of(module)) is not None and layer not in MAY_IMPORT[folder]
    ]
    assert wrong == []


def test_a_wrong_arrow_would_be_seen(tmp_path: Path) -> None:
    bad = tmp_path / "bad.py"
    bad.write_text("def f():\n    from smelt.runtime import pool\n")
    assert [layer_of(module) for _, module in imports(bad)] == ["runtime"]
    assert "runtime" not in MAY_IMPORT["ir"]


def test_pyproject_lists_every_package() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    packages = set()
    for folder, name in FOLDERS.items():
        for init in (ROOT / folder).rglob("__init__.py"):
            inner = init.parent.relative_to(ROOT / folder).parts
            packages.add(".".join((name, *inner)))
    assert sorted(settings["packages"]) == sorted(packages)
    assert settings["package-dir"] == {name: folder for folder, name in FOLDERS.items()}


def test_every_source_folder_is_a_package() -> None:
    for folder in FOLDERS:
        for path in (ROOT / folder).rglob("*.py"):
            assert (path.parent / "__init__.py").exists(), path


def test_long_files_are_accounted_for() -> None:
    reasons = (ROOT / "CONTRIBUTING.md").read_text()
    for folder in (*FOLDERS, "tests", "examples", "benchmarks"):
        for path in (ROOT / folder).rglob("*.py"):
            lines = len(path.read_text().splitlines())
            name = str(path.relative_to(ROOT))
            assert lines <= 800, f"{name} has {lines} lines"
            assert lines <= 500 or f"`{name}`" in reasons, f"{name} has {lines} lines, no reason"
