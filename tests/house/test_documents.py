"""Every program in the documents runs, and prints what stands there."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.house import documents


@pytest.mark.parametrize("document", documents.documents(), ids=lambda p: p.name)
def test_output_in_documents_is_true(document: Path) -> None:
    for example, printed in documents.run(document):
        if example.expected is not None:
            assert printed == example.expected, f"{document.name}:{example.line} is stale"


def test_stale_output_would_be_seen(tmp_path: Path) -> None:
    document = tmp_path / "page.md"
    document.write_text("```python\nprint(1 + 1)\n```\n\nprints\n\n```text\n3\n```\n")
    [(example, printed)] = list(documents.run(document))
    assert (example.expected, printed) == ("3\n", "2\n")
    assert documents.rewrite(document)
    [(example, printed)] = list(documents.run(document))
    assert example.expected == printed
