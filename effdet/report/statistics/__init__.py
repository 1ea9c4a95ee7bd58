"""Statistics of an evaluation: intervals, curves, confusion, kinds of mistakes. They take matches, never a model."""

from effdet.report.statistics.bootstrap import Difference, Interval, Statistic, bootstrap, paired_difference
from effdet.report.statistics.boxes import IOUS, BoxSet, Matches, match, matches_of
from effdet.report.statistics.confusion import detection_confusion
from effdet.report.statistics.curves import (
    THRESHOLDS,
    ClassCurve,
    best_threshold,
    class_curves,
    mean_f1,
)
from effdet.report.statistics.errors import (
    KINDS,
    MEANINGS,
    ErrorBreakdown,
    Mistakes,
    error_breakdown,
    find_mistakes,
)
from effdet.report.statistics.files import Recorded, SplitIdentity, read_statistics, write_statistics
from effdet.report.statistics.images import ImageScores, image_scores
from effdet.report.statistics.precision import average_precision
from effdet.report.statistics.samples import BoxStatistic, ClassStatistic, MapStatistic, MeanStatistic

__all__ = [
    "IOUS",
    "KINDS",
    "MEANINGS",
    "THRESHOLDS",
    "BoxSet",
    "BoxStatistic",
    "ClassCurve",
    "ClassStatistic",
    "Difference",
    "ErrorBreakdown",
    "ImageScores",
    "Interval",
    "MapStatistic",
    "Matches",
    "MeanStatistic",
    "Mistakes",
    "Recorded",
    "SplitIdentity",
    "Statistic",
    "average_precision",
    "best_threshold",
    "bootstrap",
    "class_curves",
    "detection_confusion",
    "error_breakdown",
    "find_mistakes",
    "image_scores",
    "match",
    "matches_of",
    "mean_f1",
    "paired_difference",
    "read_statistics",
    "write_statistics",
]
