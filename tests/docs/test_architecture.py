"""docs/architecture.md names files, names and packages that are there."""

from __future__ import annotations

import re
import tomllib

from tests.docs.commands import ROOT

TEXT = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")


def test_each_row_of_the_table_names_a_file_and_what_it_defines() -> None:
    rows = re.findall(r"^\| [^|]+ \| (`[a-z][^|]*`) \| ([^|]*) \|$", TEXT.partition("## Layers")[0], re.MULTILINE)
    assert len(rows) >= 18
    for files, names in rows:
        paths = [ROOT / path for path in re.findall("`([^`]+)`", files)]
        assert [path for path in paths if not path.exists()] == []
        text = "".join(path.read_text(encoding="utf-8") for path in paths if path.is_file())
        text += "".join(
            file.read_text(encoding="utf-8") for path in paths if path.is_dir() for file in path.glob("*.py")
        )
        missing = [
            name for name in re.findall("`([^`]+)`", names) if not re.search(rf"^(class|def) {name}\b", text, re.M)
        ]
        assert "yaml" in files or "conf" in files or missing == [], files


def test_the_layers_are_those_that_are_checked() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = settings["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    checked = {name.strip().removeprefix("effdet.") for layer in layers for name in layer.split("|")}
    shown = set(re.findall(r"`(?:effdet\.)?([a-z]+)/?`", "".join(re.findall(r"^\| \d+ \|.*$", TEXT, re.MULTILINE))))
    assert checked <= shown, checked - shown
