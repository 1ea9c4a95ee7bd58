"""Tasks: one kit a kind of head, with all that the layers above a model know of it."""

from effdet.tasks.kit import FirstLoss, Kit, Target, class_name, table_giving
from effdet.tasks.registry import chief_metrics, head_reports, kit_for, kits_of, truth_predict_fn

__all__ = [
    "FirstLoss",
    "Kit",
    "Target",
    "chief_metrics",
    "class_name",
    "head_reports",
    "kit_for",
    "kits_of",
    "table_giving",
    "truth_predict_fn",
]
