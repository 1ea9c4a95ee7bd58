"""Where the configuration files are."""

from __future__ import annotations

from pathlib import Path


def conf_dir() -> Path:
    """The repository's ``conf/`` when it stands beside ``effdet/``, else the copy inside the installed package.

    The repository comes first, since an editable install must never read a stale copy.
    """
    package = Path(__file__).resolve().parents[1]
    beside = package.parent / "conf"
    return beside if (beside / "train.yaml").is_file() else package / "conf"


def choices(group: str, *folders: Path | None) -> dict[str, Path]:
    """``{choice: file}`` of a group, sorted by name as people count (b2 before b10)."""
    found = {
        path.stem: path
        for folder in folders
        if folder is not None
        for path in (folder / group).glob("*.yaml")
        if not path.name.startswith(("_", "."))
    }
    return dict(sorted(found.items(), key=lambda item: _natural(item[0])))


def _natural(name: str) -> tuple[tuple[int, str], ...]:
    parts: list[tuple[int, str]] = []
    for letter in name:
        if letter.isdigit() and parts and parts[-1][0] >= 0:
            parts[-1] = (parts[-1][0] * 10 + int(letter), "")
        else:
            parts.append((int(letter), "") if letter.isdigit() else (-1, letter))
    return tuple(parts)
