"""Data: sources of records, the training set with its augmentation, the evaluation set, and loaders."""

from effdet.data.augment import AugmentSpec
from effdet.data.checks import DataError, Finding, Findings
from effdet.data.collate import MixCollate, collate
from effdet.data.eval_set import EvalSample, EvalSet
from effdet.data.images import read_image
from effdet.data.loader import TrainLoader
from effdet.data.open import OPENERS, open_dataset
from effdet.data.own_split import ArrayDataset, Example, Examples
from effdet.data.progressive import Progression, StagedTrainSet
from effdet.data.records import Dataset, Record, RecordTable
from effdet.data.rng import generator
from effdet.data.sampling import repeat_factors
from effdet.data.spec import DataSpec
from effdet.data.train_set import Sample, TrainSet

__all__ = [
    "OPENERS",
    "ArrayDataset",
    "AugmentSpec",
    "DataError",
    "DataSpec",
    "Dataset",
    "EvalSample",
    "EvalSet",
    "Example",
    "Examples",
    "Finding",
    "Findings",
    "MixCollate",
    "Progression",
    "Record",
    "RecordTable",
    "Sample",
    "StagedTrainSet",
    "TrainLoader",
    "TrainSet",
    "collate",
    "generator",
    "open_dataset",
    "read_image",
    "repeat_factors",
]
