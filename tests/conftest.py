"""What holds for all tests."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from typing import Any

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--require-parity",
        action="store_true",
        help="fail where a test against PyTorch is skipped",
    )


def _unskipped(report: Any, config: pytest.Config) -> Any:
    """Return the report of a test or module, failed if it skips what must not be skipped."""
    if report.skipped and config.getoption("--require-parity") and "parity" in report.nodeid:
        report.outcome = "failed"
        report.longrepr = f"skipped, though parity is required: {report.longrepr}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Generator[None, Any, Any]:
    return _unskipped((yield), collector.config)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, Any]:
    return _unskipped((yield), item.config)


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep compiled programs of the tests, and of processes that they start, out of the user's."""
    before = os.environ.get("SMELT_CACHE_DIR")
    os.environ["SMELT_CACHE_DIR"] = str(tmp_path_factory.mktemp("cache"))
    yield
    if before is None:
        del os.environ["SMELT_CACHE_DIR"]
    else:
        os.environ["SMELT_CACHE_DIR"] = before
