"""Checks of what only one form of annotations can get wrong, on its files as they are."""

from effdet.doctor.formats.coco import check_coco
from effdet.doctor.formats.voc import check_voc

CHECKS = {"coco": check_coco, "voc": check_voc}
"""``data=NAME`` -> ``check(spec, issues)`` for one split."""

__all__ = ["CHECKS"]
