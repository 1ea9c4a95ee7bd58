"""What the pass over the pictures found: broken files, odd forms, rotations, and the same picture twice."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from effdet.doctor.alike import exact_groups, similar_pairs
from effdet.doctor.facts import Facts
from effdet.doctor.issues import Issues
from effdet.doctor.passing import Seen
from effdet.doctor.reading import Split
from effdet.files import is_image, walk

SMALL = 32
"""Pixels."""
_NEARLY = "nearly the same picture as"
_HANGING = ("out-of-range", "outside-picture")


def check_pictures(split: Split, seen: Seen, issues: Issues) -> None:
    """Faults and forms of the pictures of one split."""
    hanging: dict[str, list[tuple[float, ...]]] = {}
    for kind in _HANGING:
        for issue in issues.of(kind):
            if issue.box is not None and issue.split == split.name:
                hanging.setdefault(issue.picture, []).append(issue.box)
    stated = split.source.records.sizes
    for place, facts in enumerate(seen.facts):
        path = split.path(place)
        if facts.fault:
            issues.note(facts.fault, path, facts.text, split=split.name, picture=str(path))
            continue
        height, width = (int(side) for side in stated[place])
        _form(path, facts, split.name, issues)
        _rotation(path, facts, (height, width), hanging.get(str(path), []), split.name, issues)


def _form(path: Path, facts: Facts, split: str, issues: Issues) -> None:
    def note(kind: str, text: str) -> None:
        issues.note(kind, path, text, split=split, picture=str(path))

    if facts.mode.startswith(("I", "F")) or facts.mode.endswith(";16"):
        note("deep-picture", f"{'floating-point' if facts.mode == 'F' else '16-bit'} pixels (mode {facts.mode})")
    elif facts.mode in ("L", "1", "LA"):
        note("grey-picture", f"one channel (mode {facts.mode})")
    if facts.alpha:
        note("alpha-picture", f"has transparency (mode {facts.mode})")
    if facts.mode == "CMYK":
        note("cmyk-picture", "four printing colours (mode CMYK)")
    if facts.frames > 1 and facts.format != "MPO":
        note("animated-picture", f"{facts.frames} frames")
    if facts.misnamed(path):
        note("wrong-suffix", f"is {facts.format}, its name says {path.suffix}")
    if 0 < min(facts.stored) < SMALL and facts.format:
        note("small-picture", f"{facts.stored[1]}×{facts.stored[0]} pixels")


def _rotation(
    path: Path, facts: Facts, size: tuple[int, int], hanging: list[tuple[float, ...]], split: str, issues: Issues
) -> None:
    """A note to turn the picture: do the boxes belong to the turned picture, or to the stored one?"""
    if facts.orientation in (0, 1):
        return
    upright = facts.stored[::-1] if facts.turned else facts.stored
    said = f"EXIF orientation {facts.orientation}"
    shown = {"split": split, "picture": str(path)}
    if facts.turned and size == upright and hanging and all(_fits(box, facts.stored) for box in hanging):
        text = f"{said}: {len(hanging)} boxes leave the turned picture and fit the stored one: they were drawn without the note"
        issues.note("exif-frame", path, text, box=hanging[0], **shown)
    elif facts.turned and size == facts.stored != upright:
        issues.note(
            "exif-rotation", path, f"{said}: the stated size is that without the rotation, and so it is read", **shown
        )
    else:
        frame = "turned" if facts.turned else "mirrored or upside down"
        issues.note("exif-rotation", path, f"{said}: it is shown {frame}; were the boxes drawn so?", **shown)


def _fits(box: tuple[float, ...], size: tuple[int, int]) -> bool:
    x, y, width, height = box
    return x >= -1 and y >= -1 and x + width <= size[1] + 1 and y + height <= size[0] + 1


def check_repeats(splits: Sequence[Split], seen: Sequence[Seen], issues: Issues) -> None:
    """The same picture in two splits, or twice in one."""
    facts = [one for part in seen for one in part.facts]
    owners = [(split, place) for split in splits for place in range(len(split.source))]
    exact = {pair for group in exact_groups([one.pixels for one in facts]) for pair in _pairs(group)}
    pairs = dict.fromkeys(sorted(exact), "the same pixels as")
    for pair, saved in similar_pairs([one.thumb for one in facts]).items():
        if facts[pair[0]].pixels != facts[pair[1]].pixels:
            pairs[pair] = "the same picture, saved anew or scaled, as" if saved else _NEARLY
    for (first, second), how in pairs.items():
        (split_a, a), (split_b, b) = owners[first], owners[second]
        side_a, side_b = str(split_a.sides[a]), str(split_b.sides[b])
        path_a, path_b = split_a.path(a), split_b.path(b)
        if side_a == side_b and path_a == path_b:
            continue  # listed twice, and told so
        shown = {"split": side_b, "picture": str(path_b), "other": str(path_a)}
        if side_a != side_b:
            kind = "near-leak" if how == _NEARLY else "split-leak"
            issues.note(kind, path_b, f"{how} {path_a} of {side_a}", item=path_a.name, **shown)
        else:
            kind = "similar-picture" if how == _NEARLY else "duplicate-picture"
            issues.note(kind, path_b, f"{how} {path_a}", item=path_a.name, **shown)


def _pairs(group: list[int]) -> Iterable[tuple[int, int]]:
    """Every other one with the first, so that many copies make few findings."""
    return ((group[0], other) for other in group[1:])


def check_unlisted(splits: Sequence[Split], issues: Issues) -> None:
    """Pictures beside those that are listed, and in no list. One finding a folder."""
    listed = {split.path(place) for split in splits for place in range(len(split.source))}
    listed |= {Path(issue.file) for issue in issues} | {Path(issue.picture) for issue in issues if issue.picture}
    for folder in sorted({path.parent for path in listed if is_image(path)}):
        try:
            files = walk(folder, is_image, deep=False).paths
        except OSError:
            continue
        spare = sorted(path for path in files if path not in listed)
        if spare:
            text = f"{len(spare):,} of {len(files):,} pictures are in no list, such as {spare[0].name}"
            issues.note("unlisted-picture", folder, text, item=spare[0].name, picture=str(spare[0]))
