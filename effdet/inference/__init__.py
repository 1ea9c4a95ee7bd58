"""Inference: a model on pictures of any kind, on videos, with tracking."""

from effdet.inference.picture import PictureLike, as_array
from effdet.inference.prediction import Prediction
from effdet.inference.predictor import Predictor
from effdet.inference.tiles import TiledPredictor, TileSettings

__all__ = ["PictureLike", "Prediction", "Predictor", "TileSettings", "TiledPredictor", "as_array"]
