"""Repairing Pascal VOC XML."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath
from xml.etree import ElementTree

from effdet.data.checks import Findings
from effdet.data.images import image_sizes
from effdet.data.voc import ImageNames, Layout, annotation_dirs, layout, read_xml, xml_files
from effdet.doctor.reading import Split
from effdet.doctor.repair.plan import RepairPlan
from effdet.files import FileError, shown
from effdet.files.scalars import number, whole


def repair_voc(splits: Sequence[Split], plan: RepairPlan) -> None:
    """Links the images and writes the XML files at the places that they have in the set, with the lists of its splits.

    An XML file without faults is copied byte for byte, and so is a list of which all is kept.
    """
    for split in splits:
        found = layout(split.spec)
        images = found.images
        files, there = xml_files(found.annotations), ImageNames(images, Findings())
        # Splits with folders of their own may have files of the same names.
        named = split.spec.annotations is not None or split.spec.images is not None
        apart = named or len(annotation_dirs(split.spec, found.annotations)) > 1
        base = _base(found, apart, plan)
        sides = {str(split.path(place)): str(side) for place, side in enumerate(split.sides)}
        kept: list[str] = []
        for stem in found.stems:
            source, root = files.get(stem), None
            if source is not None and source not in plan.images:
                with suppress(FileError):
                    root = read_xml(source)
            if source is None or root is None:
                plan.done["images left out: unusable"] += 1
                continue
            there_name = there.of(stem, (root.findtext("filename") or "").strip())
            image = images / there_name
            plan.copy.use(source)
            plan.copy.use(image)
            # A list is UTF-8, without spaces at the ends of its lines.
            if found.listing is None and not (stem.isprintable() and stem == stem.strip()):
                plan.done["images left out: names that a list cannot hold"] += 1
                continue
            if split.spec.max_images is not None and str(image) not in sides:
                continue
            if not plan.keeps(image, sides.get(str(image), split.name)):
                continue
            if str(image) not in sides and image not in plan.swapped:
                plan.done["images left out: unusable"] += 1
                continue
            before = plan.done.total()
            _mend(root, source, image, plan)
            content = source.read_bytes() if plan.done.total() == before else ElementTree.tostring(root, "utf-8")
            directory = PurePosixPath(split.name if apart else "")
            place = plan.copy.claim(source, base / "Annotations" / directory / f"{stem}.xml")
            plan.copy.write(place.with_suffix(source.suffix), content)
            plan.copy.link(image, plan.copy.claim(image, base / "JPEGImages" / directory / there_name))
            kept.append(place.relative_to(base / "Annotations").with_suffix("").as_posix())
        _write_list(split, found, kept, base, plan)


def _base(found: Layout, apart: bool, plan: RepairPlan) -> PurePosixPath:
    """The folder of the copy that holds ``Annotations`` and ``JPEGImages``: the set's own, or the top one."""
    base = found.annotations.parent
    own = plan.copy.inside(base)
    standard = not apart and (found.annotations.name, found.images) == ("Annotations", base / "JPEGImages")
    return own if own is not None and standard else PurePosixPath()


def _write_list(split: Split, found: Layout, kept: list[str], base: PurePosixPath, plan: RepairPlan) -> None:
    place = base / "ImageSets" / "Main" / f"{split.spec.list_name}.txt"
    if found.listing is not None:
        plan.copy.use(found.listing)
        if set(kept) == set(found.stems):
            plan.copy.write(place, found.listing.read_bytes())
            return
    plan.copy.write(place, "".join(f"{stem}\n" for stem in kept).encode())


def _mend(root: ElementTree.Element, source: Path, image_target: Path, plan: RepairPlan) -> None:
    """Takes the faulty objects out, and puts right what can be."""
    faulty = plan.rows.get(str(source), frozenset())
    height, width = _stated(root, image_target, plan)
    for place, node in enumerate(root.findall("object"), start=1):
        if place in faulty:
            root.remove(node)
            plan.done["objects left out"] += 1
            continue
        _clip(node, height, width, plan)
    named = root.find("filename")
    if named is not None and (named.text or "").strip().replace("\\", "/").rpartition("/")[2] != image_target.name:
        named.text = shown(image_target.name)
        plan.done["file names corrected"] += 1


def _stated(root: ElementTree.Element, image_target: Path, plan: RepairPlan) -> tuple[int, int]:
    """The (height, width) of the image, stated in the XML where it was wrong there."""
    upright, stored = image_sizes(image_target)
    size = root.find("size")
    if size is None:
        size = ElementTree.SubElement(root, "size")
    stated = whole(size.findtext("height")), whole(size.findtext("width"))
    right = stored if image_target in plan.stored or stated == stored else upright
    if stated != right and any(stated):  # a file that states no size is valid: the image has it
        plan.done["sizes corrected"] += 1
        for side, value in zip(("height", "width"), right, strict=True):
            node = size.find(side)
            node = ElementTree.SubElement(size, side) if node is None else node
            node.text = str(value)
    return right


def _clip(node: ElementTree.Element, height: int, width: int, plan: RepairPlan) -> None:
    """Corners beyond the image are moved to its edge; a pixel of overhang is rounding, and stays."""
    for corner, low, high in (("xmin", 0, width), ("ymin", 0, height), ("xmax", 0, width), ("ymax", 0, height)):
        found = node.find(f"bndbox/{corner}")
        if found is None:
            continue
        value = number(found.text)
        if value is not None and not low - 1 <= value <= high + 1:
            found.text = str(min(max(1, int(value)), high))
            plan.done["corners clipped"] += 1
