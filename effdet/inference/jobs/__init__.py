"""Whole jobs: a set of pictures, or a video, to drawings and result files."""

from effdet.inference.jobs.output import Output, Summary
from effdet.inference.jobs.pictures import predict_pictures
from effdet.inference.jobs.video import predict_video

__all__ = ["Output", "Summary", "predict_pictures", "predict_video"]
