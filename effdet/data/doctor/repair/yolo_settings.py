"""``data.yaml`` of a repaired YOLO set: the set's own where it holds of the copy too, else one with its other keys."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from effdet.data.doctor.repair.places import Places
from effdet.data.doctor.repair.verdict import Verdict
from effdet.data.spec import SPLIT_FOLDERS, DataSpec
from effdet.data.yolo_layout import YAMLS, Settings
from effdet.files import read_text

NAME_LISTS = ("classes.txt", "labels/classes.txt", "obj.names")
SPLIT_OF = {name: split for split, names in SPLIT_FOLDERS.items() for name in names}
Written = Mapping[str, Sequence[PurePosixPath]]
"""Split -> places of its images."""


def write_settings(
    spec: DataSpec,
    settings: Settings,
    written: Written,
    names: list[str],
    same_names: bool,
    places: Places,
    verdict: Verdict,
) -> None:
    """Writes ``data.yaml``, the lists that it names, and the set's own list of names where that is still true.

    Args:
        spec: of one split.
        settings: of the set.
        written: of the copy.
        names: classes of the copy.
        same_names: whether these are those of the set.
        places: takes the files.
        verdict: takes images that no list can name.
    """
    import yaml

    for path in () if spec.root is None else [spec.root / name for name in NAME_LISTS]:
        if path.is_file() and (place := places.inside(path)) is not None:
            places.use(path)
            if same_names:
                places.write(place, path.read_bytes())
    entries = {split: _entries(split, written, places, verdict) for split in written if written[split]}
    is_yaml = settings.file is not None and settings.file.suffix.lower() in (".yaml", ".yml")
    others: dict[str, Any] = {}
    if settings.file is not None:
        places.use(settings.file)
    if settings.file is not None and is_yaml:
        place = places.inside(settings.file)
        if same_names and spec.classes is None and place is not None and _holds(settings.values, entries):
            places.write(place, settings.file.read_bytes())
            return
        try:
            others = yaml.safe_load(read_text(settings.file))
        except yaml.YAMLError:  # a scalar that has no value of its type: texts serve
            others = settings.values
    replaced = {"path", "names", "nc", "download", *SPLIT_OF}
    content = {key: value for key, value in others.items() if str(key) not in replaced}
    content |= entries | {"names": dict(enumerate(names))}
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
    places.write(PurePosixPath(YAMLS[0]), text.encode("utf-8", "backslashreplace"))


def _entries(split: str, written: Written, places: Places, verdict: Verdict) -> str | list[str]:
    """What ``data.yaml`` says of a split: the folders that hold its images and no other's, else a list file."""
    folders = sorted({str(place.parent) for place in written[split]})
    top = os.path.commonpath(folders)
    others = [str(place) for other in written if other != split for place in written[other]]
    for choice in (folders if len(folders) <= 8 else [], [top]):
        mine = [folder for folder in choice if not any(folder.startswith(f"{above}/") for above in choice)]
        usable = mine and "." not in mine and "" not in mine
        if usable and not any(place.startswith(f"{folder}/") for place in others for folder in mine):
            return mine[0] if len(mine) == 1 else mine
    lines = []
    for place in written[split]:
        if str(place).isprintable():
            lines.append(f"./{place}\n")
        else:
            verdict.done["pictures left out: names that a list cannot hold"] += 1
    places.write(PurePosixPath(f"{split}.txt"), "".join(lines).encode())
    return f"{split}.txt"


def _holds(values: Mapping[str, Any], entries: Mapping[str, str | list[str]]) -> bool:
    """Whether the set's settings name the classes, and the folders of the copy."""
    if values.get("path") not in (None, "", ".", "./") or not isinstance(values.get("names"), (list, dict)):
        return False

    def plain(entry: Any) -> list[str]:
        listed = entry if isinstance(entry, list) else [entry]
        return sorted(str(folder).removeprefix("./").removeprefix("../").rstrip("/") for folder in listed)

    stated = {SPLIT_OF[key]: plain(values[key]) for key in SPLIT_OF if values.get(key)}
    made = {split: plain(entry) for split, entry in entries.items()}
    return all(stated.get(split) == entry for split, entry in made.items()) and set(stated) - set(made) <= {"test"}
