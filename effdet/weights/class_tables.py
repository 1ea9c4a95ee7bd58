"""Class tables of the public sets: for each logit a name and its owner's id.

COCO's detectors have 90 logits for 80 classes: logit ``i`` stands for COCO's category id ``i + 1``, and ten ids were never
used. Names: COCO 2017 ``categories``, PASCAL VOC 2012, Cityscapes' label table (train ids; the ids are its own label ids).
"""

from __future__ import annotations

from heads.class_names import same_names
from heads.structures import ClassTable, UserError

_COCO = (
    "person, bicycle, car, motorcycle, airplane, bus, train, truck, boat, traffic light, fire hydrant, -, stop sign, "
    "parking meter, bench, bird, cat, dog, horse, sheep, cow, elephant, bear, zebra, giraffe, -, backpack, umbrella, -, -, "
    "handbag, tie, suitcase, frisbee, skis, snowboard, sports ball, kite, baseball bat, baseball glove, skateboard, "
    "surfboard, tennis racket, bottle, -, wine glass, cup, fork, knife, spoon, bowl, banana, apple, sandwich, orange, "
    "broccoli, carrot, hot dog, pizza, donut, cake, chair, couch, potted plant, bed, -, dining table, -, -, toilet, -, tv, "
    "laptop, mouse, remote, keyboard, cell phone, microwave, oven, toaster, sink, refrigerator, -, book, clock, vase, "
    "scissors, teddy bear, hair drier, toothbrush"
)
_VOC = (
    "aeroplane, bicycle, bird, boat, bottle, bus, car, cat, chair, cow, diningtable, dog, horse, motorbike, person, "
    "pottedplant, sheep, sofa, train, tvmonitor"
)
_CITYSCAPES = {
    "road": 7, "sidewalk": 8, "building": 11, "wall": 12, "fence": 13, "pole": 17, "traffic light": 19,
    "traffic sign": 20, "vegetation": 21, "terrain": 22, "sky": 23, "person": 24, "rider": 25, "car": 26, "truck": 27,
    "bus": 28, "train": 31, "motorcycle": 32, "bicycle": 33,
}  # fmt: skip
_CITYSCAPES_THINGS = ("person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle")
_IMAGENET_COUNTS = {"imagenet1k": 1000, "imagenet12k": 11821, "imagenet21k": 21843}

NAMES = ("coco80", "coco90", "voc", "cityscapes", "cityscapes_things", *_IMAGENET_COUNTS)


def class_table(name: str) -> ClassTable:
    """A table by name, one of ``NAMES``.

    ``coco90`` has a row for each of the ids 1…90, ``coco80`` only the 80 named ones. The ImageNet tables hold only ids,
    in the owners' order: their classes are called ``class_0`` and so on.
    """
    if name in ("coco80", "coco90"):
        rows = [(text.strip(), number) for number, text in enumerate(_COCO.split(","), start=1)]
        if name == "coco80":
            rows = [row for row in rows if row[0] != "-"]
        empty = [text == "-" for text, _ in rows]
        names = tuple(None if gap else text for (text, _), gap in zip(rows, empty, strict=True))
        return ClassTable(names, tuple(None if gap else number for (_, number), gap in zip(rows, empty, strict=True)))
    if name == "voc":
        return ClassTable.of([text.strip() for text in _VOC.split(",")])
    if name == "cityscapes":
        return ClassTable(tuple(_CITYSCAPES), tuple(_CITYSCAPES.values()))
    if name == "cityscapes_things":
        return ClassTable(_CITYSCAPES_THINGS, tuple(_CITYSCAPES[thing] for thing in _CITYSCAPES_THINGS))
    if name in _IMAGENET_COUNTS:
        return ClassTable.unnamed(_IMAGENET_COUNTS[name])
    raise UserError(f"class table {name!r} is unknown; use one of {', '.join(NAMES)}")


def is_unnamed(table: ClassTable) -> bool:
    """True for a table that only counts (``class_0``, ``class_1``, …), as a model has before anyone named its classes."""
    return table.names == ClassTable.unnamed(len(table)).names


def matching_rows(target: ClassTable, source: ClassTable) -> dict[int, int]:
    """For each row of `target` that `source` also names: its row there. Unnamed and merely counted rows never match.

    Names are compared as evaluation compares them (:mod:`heads.class_names`).
    """
    if is_unnamed(target) or is_unnamed(source):
        return {row: row for row in range(len(target))} if target == source else {}
    return {row: found for row, found in enumerate(same_names(target.names, source.names)) if found >= 0}
