"""Anchor-based detection: anchors, box coder, matchers, losses, the head and its post-process."""

from heads.detection.anchors import AnchorSpec, anchors
from heads.detection.head import DetectionHead, DetectionOutput
from heads.detection.losses import DetectionLoss
from heads.detection.matcher import Assignment, MatchInput
from heads.detection.postprocess import PostProcess, postprocess

__all__ = [
    "AnchorSpec",
    "Assignment",
    "DetectionHead",
    "DetectionLoss",
    "DetectionOutput",
    "MatchInput",
    "PostProcess",
    "anchors",
    "postprocess",
]
