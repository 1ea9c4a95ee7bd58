"""What the pages import from the packages is there."""

from __future__ import annotations

import re

import pytest

from tests.docs.commands import ROOT

IMPORT = re.compile(
    r"^(?:from (?:effdet|heads|backbones)[\w.]* import [^\n]+|import (?:effdet|heads|backbones)[\w.]*)$", re.M
)
LINES = sorted(
    {
        line
        for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
        for line in IMPORT.findall(page.read_text(encoding="utf-8"))
    }
)


@pytest.mark.parametrize("line", LINES)
def test_a_shown_import_works(line: str) -> None:
    exec(line.partition("#")[0], {})
