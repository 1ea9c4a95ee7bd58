"""What a model can be pointed at: images in files, and videos, cameras and streams."""

from effdet.inference.sources.images import Inputs, find_images, find_inputs
from effdet.inference.sources.video import Frame, VideoError, VideoFault, VideoSource
from effdet.inference.sources.video_names import is_video

__all__ = ["Frame", "Inputs", "VideoError", "VideoFault", "VideoSource", "find_images", "find_inputs", "is_video"]
