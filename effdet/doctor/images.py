"""What the pass over the images found: broken files, odd forms, rotations, and the same image twice.

The same image is found exactly, and after it was saved anew or scaled: thumbnails of 16 × 16 grey pixels survive both. Two of
them are compared by the mean difference of their pixels; which pairs are compared at all is decided by a hash of 128 bits
(the signs of the differences between neighbours, a "dHash", in 8 × 8 cells along and across): pairs that agree in one of 8
bands of 16 bits. So that n images cost about n steps.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from effdet.doctor.facts import THUMB, Facts
from effdet.doctor.issues import Issues
from effdet.doctor.reading import Split
from effdet.doctor.scan import Seen
from effdet.files import is_image, walk

SMALL = 32
"""Pixels."""
_NEARLY = "nearly the same image as"
_HANGING = ("out-of-range", "outside-image")


def check_images(split: Split, seen: Seen, issues: Issues) -> None:
    """Faults and forms of the images of one split."""
    hanging: dict[str, list[tuple[float, ...]]] = {}
    for kind in _HANGING:
        for issue in issues.of(kind):
            if issue.box is not None and issue.split == split.name:
                hanging.setdefault(issue.image, []).append(issue.box)
    stated = split.source.records.sizes
    for place, facts in enumerate(seen.facts):
        path = split.path(place)
        if facts.fault:
            issues.note(facts.fault, path, facts.text, split=split.name, image=str(path))
            continue
        height, width = (int(side) for side in stated[place])
        _form(path, facts, split.name, issues)
        _rotation(path, facts, (height, width), hanging.get(str(path), []), split.name, issues)


def _form(path: Path, facts: Facts, split: str, issues: Issues) -> None:
    def note(kind: str, text: str) -> None:
        issues.note(kind, path, text, split=split, image=str(path))

    if facts.mode.startswith(("I", "F")) or facts.mode.endswith(";16"):
        note("deep-image", f"{'floating-point' if facts.mode == 'F' else '16-bit'} pixels (mode {facts.mode})")
    elif facts.mode in ("L", "1", "LA"):
        note("grey-image", f"one channel (mode {facts.mode})")
    if facts.alpha:
        note("alpha-image", f"has transparency (mode {facts.mode})")
    if facts.mode == "CMYK":
        note("cmyk-image", "four printing colours (mode CMYK)")
    if facts.frames > 1 and facts.format != "MPO":
        note("animated-image", f"{facts.frames} frames")
    if facts.misnamed(path):
        note("wrong-suffix", f"is {facts.format}, its name says {path.suffix}")
    if 0 < min(facts.stored) < SMALL and facts.format:
        note("small-image", f"{facts.stored[1]}×{facts.stored[0]} pixels")


def _rotation(
    path: Path, facts: Facts, size: tuple[int, int], hanging: list[tuple[float, ...]], split: str, issues: Issues
) -> None:
    """A note to turn the image: do the boxes belong to the turned image, or to the stored one?"""
    if facts.orientation in (0, 1):
        return
    upright = facts.stored[::-1] if facts.rotated else facts.stored
    said = f"EXIF orientation {facts.orientation}"
    shown = {"split": split, "image": str(path)}
    if facts.rotated and size == upright and hanging and all(_fits(box, facts.stored) for box in hanging):
        text = f"{said}: {len(hanging)} boxes leave the turned image and fit the stored one: they were drawn without the note"
        issues.note("exif-frame", path, text, box=hanging[0], **shown)
    elif facts.rotated and size == facts.stored != upright:
        issues.note(
            "exif-rotation", path, f"{said}: the stated size is that without the rotation, and so it is read", **shown
        )
    else:
        frame = "turned" if facts.rotated else "mirrored or upside down"
        issues.note("exif-rotation", path, f"{said}: it is shown {frame}; were the boxes drawn so?", **shown)


def _fits(box: tuple[float, ...], size: tuple[int, int]) -> bool:
    x, y, width, height = box
    return x >= -1 and y >= -1 and x + width <= size[1] + 1 and y + height <= size[0] + 1


def check_repeats(splits: Sequence[Split], seen: Sequence[Seen], issues: Issues) -> None:
    """The same image in two splits, or twice in one."""
    facts = [one for part in seen for one in part.facts]
    owners = [(split, place) for split in splits for place in range(len(split.source))]
    # Every other one with the first, so that many copies make few findings.
    exact = {(group[0], other) for group in exact_groups([one.pixels for one in facts]) for other in group[1:]}
    pairs = dict.fromkeys(sorted(exact), "the same pixels as")
    for pair, saved in similar_pairs([one.thumb for one in facts]).items():
        if facts[pair[0]].pixels != facts[pair[1]].pixels:
            pairs[pair] = "the same image, saved anew or scaled, as" if saved else _NEARLY
    for (first, second), how in pairs.items():
        (split_a, a), (split_b, b) = owners[first], owners[second]
        side_a, side_b = str(split_a.sides[a]), str(split_b.sides[b])
        path_a, path_b = split_a.path(a), split_b.path(b)
        if side_a == side_b and path_a == path_b:
            continue  # listed twice, and reported so
        leaks = side_a != side_b
        kind, nearly = ("split-leak", "near-leak") if leaks else ("duplicate-images", "similar-image")
        text = f"{how} {path_a}{f' of {side_a}' if leaks else ''}"
        shown = {"item": path_a.name, "split": side_b, "image": str(path_b), "other": str(path_a)}
        issues.note(nearly if how == _NEARLY else kind, path_b, text, **shown)


def check_unlisted(splits: Sequence[Split], issues: Issues) -> None:
    """Images beside those that are listed, and in no list. One finding a folder."""
    listed = {split.path(place) for split in splits for place in range(len(split.source))}
    listed |= {Path(issue.file) for issue in issues} | {Path(issue.image) for issue in issues if issue.image}
    for directory in sorted({path.parent for path in listed if is_image(path)}):
        try:
            files = walk(directory, is_image, deep=False).paths
        except OSError:
            continue
        spare = sorted(path for path in files if path not in listed)
        if spare:
            text = f"{len(spare):,} of {len(files):,} images are in no list, such as {spare[0].name}"
            issues.note("unlisted-image", directory, text, item=spare[0].name, image=str(spare[0]))


SAME, ALMOST = (6, 1.0), (14, 3.0)
"""Bits of 128 and mean difference of grey levels 0…255 up to which two images are the same one saved anew (a JPEG at
quality 15 differs by 2 bits and 0.6), and up to which they are nearly so (another shot of the scene, the next frame)."""
LEAST_CONTRAST = 6.0
"""Standard deviation of a thumbnail below which nothing can be distinguished (sky, a black frame)."""
_MOST_IN_BUCKET = 64


def exact_groups(prints: Sequence[bytes]) -> list[list[int]]:
    """Positions of equal prints, in groups of two and more; empty prints stand for images that could not be read."""
    groups: dict[bytes, list[int]] = {}
    for position, value in enumerate(prints):
        if value:
            groups.setdefault(value, []).append(position)
    return [group for group in groups.values() if len(group) > 1]


def similar_pairs(thumbs: Sequence[bytes]) -> dict[tuple[int, int], bool]:
    """Pairs of images that show the same (True: one saved anew; False: nearly), sorted.

    Args:
        thumbs: of :class:`~effdet.doctor.facts.Facts`; empty ones are left out.
    """
    there = np.array([position for position, thumb in enumerate(thumbs) if thumb], np.int64)
    if len(there) == 0:
        return {}
    pixels = np.frombuffer(b"".join(thumbs[position] for position in there), np.uint8).reshape(-1, THUMB, THUMB)
    shown = pixels.reshape(len(pixels), -1).std(axis=1) >= LEAST_CONTRAST
    there, pixels = there[shown], pixels[shown]
    if len(there) < 2:
        return {}
    bits = _hashes(pixels)
    found: dict[tuple[int, int], bool] = {}
    for first, second in _candidates(bits):
        pair = (int(there[first]), int(there[second]))
        differ = int(np.count_nonzero(bits[first] != bits[second]))
        if pair in found or differ > ALMOST[0]:
            continue
        distance = float(np.abs(pixels[first].astype(np.int16) - pixels[second]).mean())
        if distance <= ALMOST[1]:
            found[pair] = differ <= SAME[0] and distance <= SAME[1]
    return dict(sorted(found.items()))


def _hashes(pixels: np.ndarray) -> np.ndarray:
    """(N, 16, 16) uint8 -> (N, 128) bool."""
    cells = pixels.reshape(len(pixels), 8, 2, 8, 2).mean(axis=(2, 4))  # (N, 8, 8)
    across = np.roll(cells, -1, axis=2) > cells
    along = np.roll(cells, -1, axis=1) > cells
    return np.concatenate([across.reshape(-1, 64), along.reshape(-1, 64)], axis=1)


def _candidates(bits: np.ndarray) -> Iterator[tuple[int, int]]:
    """Pairs that agree in a band. A bucket that many share says nothing about them: only its neighbours are paired."""
    bands = np.packbits(bits, axis=1).view(np.uint16)  # (N, 8)
    for band in bands.T:
        order = np.argsort(band, kind="stable")
        starts = np.flatnonzero(np.diff(band[order].astype(np.int64), prepend=-1))
        for start, stop in zip(starts, [*starts[1:], len(order)], strict=True):
            bucket = order[start:stop]
            reach = len(bucket) if len(bucket) <= _MOST_IN_BUCKET else 4
            for place, first in enumerate(bucket.tolist()):
                for second in bucket[place + 1 : place + 1 + reach].tolist():
                    yield (first, second) if first < second else (second, first)
