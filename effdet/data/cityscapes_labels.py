"""The label table of Cityscapes (cityscapesScripts, ``helpers/labels.py``): ids in files, trainIds inside.

``labelIds`` files hold ids; training and evaluation know the 19 classes with a trainId, everything else is ignored.
``instanceIds`` files hold ``1000 · id + n`` for a single object, and the bare id for stuff and for groups of objects.
"""

from __future__ import annotations

from dataclasses import dataclass

from heads.structures import ClassTable

INSTANCE_BASE = 1000
"""``instanceIds`` from here on are single objects."""


@dataclass(frozen=True)
class Label:
    """One row of the table."""

    id: int
    name: str
    train_id: int | None = None
    """Place among the 19 classes; None for what is ignored."""
    has_instances: bool = False


LABELS = (
    Label(0, "unlabeled"),
    Label(1, "ego vehicle"),
    Label(2, "rectification border"),
    Label(3, "out of roi"),
    Label(4, "static"),
    Label(5, "dynamic"),
    Label(6, "ground"),
    Label(7, "road", 0),
    Label(8, "sidewalk", 1),
    Label(9, "parking"),
    Label(10, "rail track"),
    Label(11, "building", 2),
    Label(12, "wall", 3),
    Label(13, "fence", 4),
    Label(14, "guard rail"),
    Label(15, "bridge"),
    Label(16, "tunnel"),
    Label(17, "pole", 5),
    Label(18, "polegroup"),
    Label(19, "traffic light", 6),
    Label(20, "traffic sign", 7),
    Label(21, "vegetation", 8),
    Label(22, "terrain", 9),
    Label(23, "sky", 10),
    Label(24, "person", 11, has_instances=True),
    Label(25, "rider", 12, has_instances=True),
    Label(26, "car", 13, has_instances=True),
    Label(27, "truck", 14, has_instances=True),
    Label(28, "bus", 15, has_instances=True),
    Label(29, "caravan", has_instances=True),
    Label(30, "trailer", has_instances=True),
    Label(31, "train", 16, has_instances=True),
    Label(32, "motorcycle", 17, has_instances=True),
    Label(33, "bicycle", 18, has_instances=True),
    # Id -1, which no uint8 file can hold: tools that write it all the same write 255.
    Label(255, "license plate"),
)

TRAINED = tuple(label for label in LABELS if label.train_id is not None)
"""The 19 classes, in the order of their trainIds."""
THINGS = tuple(label for label in TRAINED if label.has_instances)
"""The eight of them that have boxes; caravans and trailers have instances, and are ignored."""

CLASSES = ClassTable(tuple(label.name for label in TRAINED), tuple(label.id for label in TRAINED))
BOX_CLASSES = ClassTable(tuple(label.name for label in THINGS), tuple(label.id for label in THINGS))
