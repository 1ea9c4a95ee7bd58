"""``effdet --help``, ``effdet COMMAND --help`` and docs/reference/config.md, made from what the settings declare.

``python -m effdet.cli.help`` prints the reference page.
"""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterable

from effdet.cli.registry import COMMANDS, Command
from effdet.cli.schema import Key, KeyFile, Schema, read_keys
from heads.fields import describe

_COLUMN = 30
"""Where explanations begin."""


def overview() -> str:
    lines = ["effdet COMMAND key=value …", "", "Commands:"]
    lines += [f"  {command.name:<10} {command.summary}" for command in COMMANDS.values()]
    lines += [
        "",
        "`effdet COMMAND --help` lists a command's keys and choices; `--print` shows the composed configuration and runs",
        "nothing; `--config-dir DIR` adds your own files (DIR/data/mine.yaml is data=mine).",
        "",
        "Examples:",
    ]
    lines += [f"  {command.examples[0]}" for command in COMMANDS.values()]
    return "\n".join(lines)


def command_help(command: Command, schema: Schema) -> str:
    """All keys of a command: its own first, then each group with its choices and the default choice's keys."""
    width = max(72, min(140, shutil.get_terminal_size((120, 24)).columns))
    lines = [f"effdet {command.name} key=value …", "", f"{command.summary[0].upper()}{command.summary[1:]}.", ""]
    lines += ["Examples:", *(f"  {example}" for example in command.examples), "", "Keys, with their defaults:"]
    lines += _keys(schema.primary.keys.values(), width)
    for group, default in schema.groups.items():
        lines += ["", *_group(group, default, schema, width)]
    if command.trains:
        lines += ["", "Every other key is one of `effdet train --help`, and is handed on."]
    lines += ["", "Flags: --print (show the composed configuration), --config-dir DIR (your own files), --help"]
    return "\n".join(lines)


def _group(group: str, default: object, schema: Schema, width: int) -> list[str]:
    files = schema.choices(group)
    picked = [str(name) for name in (default if isinstance(default, list) else [default]) if name is not None]
    shown = ", ".join(picked) or "null"
    choices = textwrap.wrap("one of " + ", ".join(files), width - _COLUMN)
    lines = [f"{f'{group}={shown}':<{_COLUMN}}{choices[0]}", *(" " * _COLUMN + line for line in choices[1:])]
    for name in picked:
        if name in files:
            lines += _keys(_settable(read_keys(files[name], group)), width)
    return lines


def _settable(file: KeyFile) -> list[Key]:
    """Without the ``name`` that a choice sets for itself."""
    return [key for key in file.keys.values() if not key.name.endswith(".name") or key.default == "null"]


def _keys(keys: Iterable[Key], width: int) -> list[str]:
    lines = []
    for key in keys:
        kinds = f" ({describe(key.kinds)})" if key.kinds else ""
        head = f"  {key.name}={key.default}"
        body = textwrap.wrap((" ".join(filter(None, (key.meaning, key.remark))) + kinds).strip(), width - _COLUMN) or [
            ""
        ]
        if len(head) >= _COLUMN - 1:
            lines.append(head)
            head = ""
        if not (head or body[0]):
            continue
        lines += [f"{head:<{_COLUMN}}{body[0]}".rstrip(), *(" " * _COLUMN + line for line in body[1:])]
    return lines


def reference() -> str:
    """The page of all keys of all commands, as Markdown."""
    lines = [
        "# Configuration reference",
        "",
        "Look a key up here, or print it: `effdet train --help`. A key is set as `key=value` on the command line, or in a YAML",
        "file of your own: `effdet train --config-dir DIR`, where DIR/data/mine.yaml is `data=mine`.",
        "",
        "This page is generated: `python -m effdet.cli.help > docs/reference/config.md`.",
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
            key for file in files.values() for key in _settable(file) if group != "task" or key.name.startswith("task.")
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
    return text.replace("|", "\\|").replace("*", "\\*").replace("<", "&lt;")


if __name__ == "__main__":
    print(reference(), end="")
