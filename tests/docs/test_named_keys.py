"""Each ``key=value`` that README, the docs and the help texts name is a key of a command, with a value that it takes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from effdet.cli.app import COMMANDS
from effdet.cli.schema import Schema, read_keys
from tests.docs.commands import ROOT

NAMED = re.compile(r"`([a-z][a-z0-9_]*(?:\.[a-z0-9_]+)*)=([^`\s=]*)(?:[^`=]*)`")
PYTHON = {
    "trust", "images", "raw", "cached_only", "ids", "allow_pickle", "create_graph", "weights_only", "num_classes", "keep",
    "preprocess",
}  # fmt: skip
"""Arguments of Python functions that pages name."""
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def known() -> tuple[set[str], dict[str, set[str]]]:
    """All keys of all commands; and by group its choices."""
    keys, groups = set[str](), dict[str, set[str]]()
    for command in COMMANDS.values():
        schema = Schema(command.name)
        keys |= set(schema.primary.keys)
        for group in schema.groups:
            choices = schema.choices(group)
            groups.setdefault(group, set()).update(choices)
            for path in choices.values():
                keys |= set(read_keys(path, group).keys)
    return keys, groups


KEYS, GROUPS = known()
PARTS = {".".join(parts[start:]) for parts in (key.split(".") for key in KEYS) for start in range(len(parts))}
"""Keys below a section that the text around them names."""
EXAMPLES = {"key=", "data=mine"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_named_keys_exist(page: Path) -> None:
    wrong = []
    for key, value in NAMED.findall(page.read_text(encoding="utf-8")):
        if key in GROUPS:
            for choice in re.split(r"[,|]", value.strip("[]")):
                if choice.isidentifier() and not choice.isupper() and choice not in GROUPS[key]:
                    wrong.append(f"{key}={choice}")
        elif key not in PARTS and key not in PYTHON and "_target_" not in key and not key.startswith("hydra."):
            wrong.append(f"{key}=")
    assert not set(wrong) - EXAMPLES
