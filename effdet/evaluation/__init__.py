"""Evaluation: the one loop, its metrics, their tables and files."""

from effdet.evaluation.batch import EvalBatch
from effdet.evaluation.classes import ClassJoin, join
from effdet.evaluation.classification import classification_metrics
from effdet.evaluation.coco import COCO_KEYS, coco_metrics
from effdet.evaluation.embedding import EmbeddingEvaluator, embedding_metrics
from effdet.evaluation.evaluators import (
    ClassificationEvaluator,
    DetectionEvaluator,
    Evaluator,
    SemanticEvaluator,
    coco_results,
    same_classes,
)
from effdet.evaluation.loop import EvaluationResult, PredictFn, evaluate
from effdet.evaluation.loss import LossEvaluator
from effdet.evaluation.predict_fn import ModelPredictFn
from effdet.evaluation.results import ClassMapWriter, write_json, write_results
from effdet.evaluation.segmentation import CITYSCAPES_CATEGORIES, confusion_matrix, segmentation_metrics
from effdet.evaluation.tables import metric_tables, print_metrics

__all__ = [
    "CITYSCAPES_CATEGORIES",
    "COCO_KEYS",
    "ClassJoin",
    "ClassMapWriter",
    "ClassificationEvaluator",
    "DetectionEvaluator",
    "EmbeddingEvaluator",
    "EvalBatch",
    "EvaluationResult",
    "Evaluator",
    "LossEvaluator",
    "ModelPredictFn",
    "PredictFn",
    "SemanticEvaluator",
    "classification_metrics",
    "coco_metrics",
    "coco_results",
    "confusion_matrix",
    "embedding_metrics",
    "evaluate",
    "join",
    "metric_tables",
    "print_metrics",
    "same_classes",
    "segmentation_metrics",
    "write_json",
    "write_results",
]
