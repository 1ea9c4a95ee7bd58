"""Whole jobs: a set of images, a video or several, to drawings and result files."""

from effdet.inference.jobs.output import Output, Summary
from effdet.inference.jobs.pictures import predict_pictures
from effdet.inference.jobs.video import predict_video, predict_videos

__all__ = ["Output", "Summary", "predict_pictures", "predict_video", "predict_videos"]
