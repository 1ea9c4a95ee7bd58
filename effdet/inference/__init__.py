"""Inference: a model on pictures of any kind."""

from effdet.inference.picture import PictureLike, as_array
from effdet.inference.prediction import Prediction
from effdet.inference.predictor import Predictor

__all__ = ["PictureLike", "Prediction", "Predictor", "as_array"]
