"""Inference: a model on images of any kind, on videos, with tracking."""

from effdet.inference.image import ImageLike, as_array
from effdet.inference.prediction import Prediction
from effdet.inference.predictor import Predictor
from effdet.inference.tiles import TiledPredictor, TileSettings

__all__ = ["ImageLike", "Prediction", "Predictor", "TileSettings", "TiledPredictor", "as_array"]
