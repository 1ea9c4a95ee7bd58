"""Prints docs/reference/config.md, made from what the settings classes and ``conf/`` say of each key."""

from __future__ import annotations

from collections.abc import Iterable

from effdet.cli.app import COMMANDS, settable
from effdet.cli.schema import Key, Schema, read_keys
from heads.fields import describe


def reference() -> str:
    """The page of all keys of all commands, as Markdown."""
    lines = [
        "# Configuration reference",
        "",
        "Look a key up here, or print it: `effdet train --help`. A key is set as `key=value` on the command line, or in a YAML",
        "file: `effdet train --config-dir DIR`, where DIR/data/mine.yaml is `data=mine`.",
        "",
        "This page is generated: `python docs/reference/generate.py > docs/reference/config.md`.",
    ]
    groups: dict[str, Schema] = {}
    for command in COMMANDS.values():
        schema = Schema(command.name)
        groups |= {group: schema for group in schema.groups if group not in groups and group != "experiment"}
        lines += ["", f"## effdet {command.name}", "", f"{command.summary[0].upper()}{command.summary[1:]}."]
        if schema.groups:
            lines += [
                "",
                f"Groups: {', '.join(f'[`{group}`](#{group})' for group in schema.groups if group in groups)}.",
            ]
        lines += _table(schema.primary.keys.values())
    for group, schema in groups.items():
        files = {name: read_keys(path, group) for name, path in schema.choices(group).items()}
        lines += ["", f"## {group}", "", "| choice | |", "|---|---|"]
        lines += [f"| `{group}={name}` | {_cell(file.title)} |" for name, file in files.items()]
        keys = [
            key for file in files.values() for key in settable(file) if group != "task" or key.name.startswith("task.")
        ]
        lines += _table({key.name: key for key in reversed(keys)}.values(), defaults=len(files) == 1)
    return "\n".join(lines) + "\n"


def _table(keys: Iterable[Key], *, defaults: bool = True) -> list[str]:
    """A key a row; `defaults` are left out where each choice of a group has its own."""
    lines = ["", f"| key |{' default |' * defaults} what it may be | meaning |", f"|---|{'---|' * defaults}---|---|"]
    for key in sorted(keys, key=lambda key: key.name) if not defaults else keys:
        kinds, default = describe(key.kinds or ()), f" `{key.default}` |" * defaults
        lines.append(f"| `{key.name}` |{default} {_cell(kinds)} | {_cell(key.meaning)} |")
    return lines


def _cell(text: str) -> str:
    parts = text.replace("|", "\\|").replace("<", "&lt;").split("`")
    return "`".join(part if index % 2 else part.replace("*", "\\*") for index, part in enumerate(parts))


if __name__ == "__main__":
    print(reference(), end="")
