"""What a model can be pointed at: pictures in files, and videos, cameras and streams."""

from effdet.inference.sources.pictures import find_pictures
from effdet.inference.sources.video import Frame, VideoSource, is_video

__all__ = ["Frame", "VideoSource", "find_pictures", "is_video"]
