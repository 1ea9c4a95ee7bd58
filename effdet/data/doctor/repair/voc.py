"""Repairing Pascal VOC XML."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

from effdet.data.doctor.reading import Split
from effdet.data.doctor.repair.verdict import Verdict, link
from effdet.data.images import image_sizes
from effdet.data.scalars import number, whole
from effdet.data.voc import layout


def repair_voc(splits: Sequence[Split], verdict: Verdict, out: Path) -> None:
    """Writes ``Annotations/``, ``ImageSets/Main/`` and linked ``JPEGImages/``."""
    for split in splits:
        annotations, _, _ = layout(split.spec)
        stems: dict[str, list[str]] = {}
        pictures = [(split.path(place), str(side)) for place, side in enumerate(split.sides)]
        pictures += [(picture, split.name) for picture, name in verdict.swapped.items() if name == split.name]
        for picture, side in pictures:
            source = annotations / f"{picture.stem}.xml"
            if source in verdict.pictures or not source.is_file() or not verdict.keeps(picture, side):
                continue
            target = out / "Annotations" / source.name
            target.parent.mkdir(parents=True, exist_ok=True)
            before = verdict.done.total()
            root = _mended(source, picture, verdict)
            if verdict.done.total() > before:
                ElementTree.ElementTree(root).write(target, encoding="utf-8")
            else:
                target.write_bytes(source.read_bytes())
            link(picture, out / "JPEGImages" / picture.name)
            stems.setdefault(split.name, []).append(source.stem)
        listing = out / "ImageSets" / "Main" / f"{split.spec.list_name}.txt"
        listing.parent.mkdir(parents=True, exist_ok=True)
        listing.write_text("".join(f"{stem}\n" for stem in stems.get(split.name, [])), "utf-8")


def _mended(source: Path, picture: Path, verdict: Verdict) -> ElementTree.Element:
    root = ElementTree.fromstring(source.read_bytes())
    faulty = verdict.rows.get(str(source), frozenset())
    height, width = _stated(root, picture, verdict)
    for place, node in enumerate(root.findall("object"), start=1):
        if place in faulty:
            root.remove(node)
            verdict.done["objects left out"] += 1
            continue
        _clip(node, height, width, verdict)
    named = root.find("filename")
    if named is not None and (named.text or "").strip() != picture.name:
        named.text = picture.name
        verdict.done["file names corrected"] += 1
    return root


def _stated(root: ElementTree.Element, picture: Path, verdict: Verdict) -> tuple[int, int]:
    """The (height, width) of the picture, stated in the XML where it was wrong there."""
    upright, stored = image_sizes(picture)
    size = root.find("size")
    if size is None:
        size = ElementTree.SubElement(root, "size")
    stated = whole(size.findtext("height")), whole(size.findtext("width"))
    right = stored if picture in verdict.stored or stated == stored else upright
    if stated != right:
        verdict.done["sizes corrected"] += 1
        for side, value in zip(("height", "width"), right, strict=True):
            node = size.find(side)
            node = ElementTree.SubElement(size, side) if node is None else node
            node.text = str(value)
    return right


def _clip(node: ElementTree.Element, height: int, width: int, verdict: Verdict) -> None:
    """Corners beyond the picture are moved to its edge; a pixel of overhang is rounding, and stays."""
    for corner, low, high in (("xmin", 0, width), ("ymin", 0, height), ("xmax", 0, width), ("ymax", 0, height)):
        found = node.find(f"bndbox/{corner}")
        if found is None:
            continue
        value = number(found.text)
        if value is not None and not low - 1 <= value <= high + 1:
            found.text = str(min(max(1, int(value)), high))
            verdict.done["corners clipped"] += 1
