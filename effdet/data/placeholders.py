"""Categories that a tool put into a COCO file though nobody drew them.

Roboflow's exports begin with the project's name, ``{"id": 0, "name": "cells", "supercategory": "none"}``, followed by the
classes, whose supercategory it is; often the only class has the very same name. Other tools list a background. As classes
they would be logits that no example ever trains, and a name that occurs twice is no class table at all.

A category is a placeholder if no annotation of any split uses it, and it is (a) the table's only entry of supercategory
``none``, or one without a supercategory that is the supercategory of another entry, or (b) called background, or (c) of the
same name as another entry. All splits are asked, so that train and val get the same table.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from effdet.data.checks import Findings
from effdet.files import FileError, read_json
from effdet.files.scalars import whole

BACKGROUND = frozenset({"background", "_background_", "__background__", "__ignore__", "_ignore_"})


def without_placeholders(
    content: dict[str, Any], path: Path, siblings: Callable[[], Collection[Path]], findings: Findings
) -> list[tuple[int, Any]]:
    """The entries of ``categories`` with their places, without placeholders, which are noted.

    Args:
        content: of the annotation file.
        path: its name.
        siblings: the annotation files of the other splits.
        findings: takes a warning for each entry that is left out.
    """
    categories = list(enumerate(content["categories"]))
    candidates = _candidates(content["categories"])
    if not candidates:
        return categories
    used = _used(content)
    if unused := [place for place in candidates if _key(content["categories"][place]) not in used]:
        for sibling in siblings():
            if sibling != path:
                used |= _used(_content(sibling))
        unused = [place for place in unused if _key(content["categories"][place]) not in used]
    dropped = set(unused)
    for name, places in _by_name(content["categories"]).items():
        # Of equal names the used one stays; where none is used, the last: Roboflow's placeholder comes first.
        if name not in BACKGROUND and set(places) <= dropped and len(places) > 1:
            dropped.discard(places[-1])
    if len(dropped) == len(categories):
        return categories
    for place in sorted(dropped):
        entry = content["categories"][place]
        text = f"{entry['name']!r} (id {entry['id']}) is a placeholder that no annotation uses: left out"
        findings.warning("placeholder-category", path, text, item=f"categories[{place}]")
    return [(place, entry) for place, entry in categories if place not in dropped]


def _candidates(categories: list[Any]) -> list[int]:
    """Places of the entries that would be placeholders if nothing used them."""
    named = {place: entry for place, entry in enumerate(categories) if _key(entry) is not None}
    if len(named) < 2:
        return []
    above = {place: str(entry.get("supercategory") or "").strip().lower() for place, entry in named.items()}
    nones = sum(value == "none" for value in above.values())
    counts = Counter(_name(entry) for entry in named.values())
    parents = Counter(above.values())
    found = []
    for place, entry in named.items():
        name = _name(entry)
        others = parents[name.lower()] - (above[place] == name.lower())
        root = (above[place] == "none" and nones == 1) or (above[place] in ("none", "null", "") and others > 0)
        if root or name.lower() in BACKGROUND or counts[name] > 1:
            found.append(place)
    return found


def _by_name(categories: list[Any]) -> dict[str, list[int]]:
    places: dict[str, list[int]] = {}
    for place, entry in enumerate(categories):
        if _key(entry) is not None:
            places.setdefault(_name(entry), []).append(place)
    return places


def _name(entry: dict[str, Any]) -> str:
    return str(entry["name"]).strip()


def _key(entry: Any) -> tuple[int, str] | None:
    """(id, name) of a well-formed category."""
    identity = whole(entry.get("id")) if isinstance(entry, dict) else None
    return None if identity is None or not isinstance(entry.get("name"), str) else (identity, _name(entry))


def _used(content: dict[str, Any]) -> set[tuple[int, str] | None]:
    """(id, name) of the categories that annotations of a file use."""
    annotations = content.get("annotations")
    entries = [entry for entry in annotations if isinstance(entry, dict)] if isinstance(annotations, list) else []
    ids = {whole(entry.get("category_id")) for entry in entries}
    categories = content.get("categories")
    keys = map(_key, categories if isinstance(categories, list) else ())
    return {key for key in keys if key is not None and key[0] in ids}


def _content(path: Path) -> dict[str, Any]:
    """A sibling's content; nothing where it cannot be read (whoever opens that split is reported)."""
    try:
        content = read_json(path)
    except FileError:
        return {}
    return content if isinstance(content, dict) else {}
