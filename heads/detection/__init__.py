"""Anchor-based detection: anchors, box coder, matchers, losses, the head and its post-process."""

from heads.detection.anchors import AnchorSpec, anchors
from heads.detection.head import DetectionHead, DetectionOutput
from heads.detection.losses import DetectionLoss
from heads.detection.postprocess import PostProcess, postprocess

__all__ = ["AnchorSpec", "DetectionHead", "DetectionLoss", "DetectionOutput", "PostProcess", "anchors", "postprocess"]
