"""Whole jobs: a set of images, a video or several, to drawings and result files."""

from effdet.inference.jobs.images import predict_images
from effdet.inference.jobs.output import Job, Summary
from effdet.inference.jobs.video import predict_video, predict_videos

__all__ = ["Job", "Summary", "predict_images", "predict_video", "predict_videos"]
