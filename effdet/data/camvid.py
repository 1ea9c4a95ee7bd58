"""CamVid in SegNet's split: ``{train,val,test}/`` beside ``{train,val,test}annot/``, 480×360, 11 classes and void."""

from __future__ import annotations

from effdet.data.checks import Findings
from effdet.data.mask_files import MaskValues
from effdet.data.masks import folders, open_pairs
from effdet.data.records import Source
from effdet.data.spec import DataSpec
from heads.structures import ClassTable

NAMES = (*("Sky", "Building", "Pole", "Road", "Pavement", "Tree", "Sign", "Fence", "Car", "Pedestrian", "Bicyclist"),)
"""In the order of their ids, 0 to 10."""
VOID = 11


def open_camvid(spec: DataSpec, findings: Findings) -> Source:
    """The split of CamVid that `spec` names."""
    classes = ClassTable.of(NAMES, first_id=0)
    values = MaskValues.of({label: label for label in range(len(NAMES))}, ignored=(VOID, 255), void=VOID)
    pictures, masks = folders(spec, spec.file_split, f"{spec.file_split}annot")
    return open_pairs(spec, pictures, masks, values, classes, findings)
