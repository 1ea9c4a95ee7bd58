"""``data.yaml`` of a repaired YOLO set: the set's own where it holds of the copy too, else one with its other keys."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from effdet.data.spec import SPLIT_DIRS, DataSpec
from effdet.data.yolo_layout import YAMLS, Settings
from effdet.doctor.repair.copy_layout import CopyLayout
from effdet.doctor.repair.repair_plan import RepairPlan
from effdet.files import read_text, text_lines

NAME_LISTS = ("classes.txt", "labels/classes.txt", "obj.names")
SPLIT_OF = {name: split for split, names in SPLIT_DIRS.items() for name in names}
Written = Mapping[str, Sequence[PurePosixPath]]
"""Split -> places of its images."""


def write_settings(
    spec: DataSpec,
    settings: Settings,
    written: Written,
    names: list[str],
    same_names: bool,
    whole: Collection[str],
    copy_layout: CopyLayout,
    plan: RepairPlan,
) -> None:
    """Writes ``data.yaml``, the lists that it names, and the set's own list of names where that is still true.

    Args:
        spec: of one split.
        settings: of the set.
        written: of the copy.
        names: classes of the copy.
        same_names: whether these are those of the set.
        whole: splits of which every image is in the copy, at its own place.
        places: takes the files.
        result: takes images that no list can name.
    """
    import yaml

    for path in () if spec.root is None else [spec.root / name for name in NAME_LISTS]:
        if path.is_file() and (place := copy_layout.inside(path)) is not None:
            copy_layout.use(path)
            if same_names:
                copy_layout.write(place, path.read_bytes())
    is_yaml = settings.file is not None and settings.file.suffix.lower() in (".yaml", ".yml")
    others: dict[str, Any] = {}
    if settings.file is not None:
        copy_layout.use(settings.file)
    if settings.file is not None and is_yaml:
        place = copy_layout.inside(settings.file)
        own = _own_files(settings.values, written, whole, copy_layout) if same_names and spec.classes is None else None
        if own is not None and place is not None:
            for file in (settings.file, *own):
                copy_layout.use(file)
                copy_layout.write(copy_layout.inside(file) or place, file.read_bytes())
            return
        try:
            others = yaml.safe_load(read_text(settings.file))
        except yaml.YAMLError:  # a scalar that has no value of its type: texts serve
            others = settings.values
    entries = {split: _entries(split, written, copy_layout, plan) for split in written if written[split]}
    replaced = {"path", "names", "nc", "download", *SPLIT_OF}
    content = {key: value for key, value in others.items() if str(key) not in replaced}
    content |= entries | {"names": dict(enumerate(names))}
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
    copy_layout.write(PurePosixPath(YAMLS[0]), text.encode("utf-8", "backslashreplace"))


def _entries(split: str, written: Written, copy_layout: CopyLayout, plan: RepairPlan) -> str | list[str]:
    """What ``data.yaml`` says of a split: the folders that hold its images and no other's, else a list file."""
    directories = sorted({str(place.parent) for place in written[split]})
    top = os.path.commonpath(directories)
    others = [str(place) for other in written if other != split for place in written[other]]
    for choice in (directories if len(directories) <= 8 else [], [top]):
        mine = [directory for directory in choice if not any(directory.startswith(f"{above}/") for above in choice)]
        usable = mine and "." not in mine and "" not in mine
        if usable and not any(place.startswith(f"{directory}/") for place in others for directory in mine):
            return mine[0] if len(mine) == 1 else mine
    lines = []
    for place in written[split]:
        if str(place).isprintable():
            lines.append(f"./{place}\n")
        else:
            plan.done["images left out: names that a list cannot hold"] += 1
    copy_layout.write(PurePosixPath(f"{split}.txt"), "".join(lines).encode())
    return f"{split}.txt"


def _own_files(
    values: Mapping[str, Any], written: Written, whole: Collection[str], copy_layout: CopyLayout
) -> list[Path] | None:
    """The lists that the set's settings name, if settings and lists hold of the copy as they are; else None.

    They do where all paths lead into the set: folders lead to what is left of them, lists if nothing was left out.
    """
    plain = values.get("path") in (None, "", ".", "./") and isinstance(values.get("names") or [], (list, dict))
    if copy_layout.root is None or not plain:
        return None
    stated = {SPLIT_OF[key]: values[key] for key in SPLIT_OF if values.get(key)}
    if not set(written) <= set(stated) <= {*written, "test"}:
        return None
    lists = []
    for split in written:
        for entry in stated[split] if isinstance(stated[split], list) else [stated[split]]:
            path = copy_layout.root / str(entry).removeprefix("../")
            if path.is_file():
                lines = read_text(path)
                if split not in whole or ".." in lines or any(line.startswith("/") for line in text_lines(lines)):
                    return None
                lists.append(path)
            elif not path.is_dir() or copy_layout.inside(path) is None:
                return None
    return lists
