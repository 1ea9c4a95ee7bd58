"""What a model can be pointed at: images in files, and videos, cameras and streams."""

from effdet.inference.sources.inputs import Inputs, find_images, find_inputs, is_video
from effdet.inference.sources.video import Frame, VideoError, VideoFault, VideoSource

__all__ = ["Frame", "Inputs", "VideoError", "VideoFault", "VideoSource", "find_images", "find_inputs", "is_video"]
