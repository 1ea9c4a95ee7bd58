"""Tracking: detections of successive frames joined into objects that keep their number (ByteTrack)."""

from effdet.inference.tracking.bytetrack import Tracker, TrackerSettings
from effdet.inference.tracking.trails import Trails

__all__ = ["Tracker", "TrackerSettings", "Trails"]
