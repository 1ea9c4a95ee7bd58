"""Anchor-based detection: anchors, box coder, matchers, losses, the head and its post-process."""

from heads.detection.anchors import AnchorSpec, anchors
from heads.detection.head import DetectionHead, DetectionOptions, DetectionOutput
from heads.detection.losses import DetectionLoss
from heads.detection.matcher import Assignment, MatchInput
from heads.detection.postprocess import PostProcess, postprocess

__all__ = [
    "AnchorSpec",
    "Assignment",
    "DetectionHead",
    "DetectionLoss",
    "DetectionOptions",
    "DetectionOutput",
    "MatchInput",
    "PostProcess",
    "anchors",
    "postprocess",
]
