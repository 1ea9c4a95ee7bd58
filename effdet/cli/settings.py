"""Sections of keys that several commands share, and those of a training: what they may be and what they mean.

The keys of each command are the class of its name beside the command. All of them are read as text (:mod:`effdet.cli.schema`),
so that no command waits for the imports below. Values stand in ``conf/``; what a package's own settings declare is taken from
them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, TypeVar

from backbones.spec import BackboneSpec
from effdet.data.spec import DataSpec
from heads.detection.anchors import AnchorSpec
from heads.detection.losses import DetectionLoss
from heads.detection.postprocess import PostProcess
from heads.semantic_losses import SemanticLoss

T = TypeVar("T")


class Overrides(Generic[T]):
    """The keys of T; null leaves one at its default."""


class Scaled(Generic[T]):
    """The keys of T; null leaves one to the scaling or the data."""


class FromRecipe(Generic[T]):
    """The keys of T; auto leaves one to the recipe."""


@dataclass(frozen=True, kw_only=True)
class EvaluationBackend:
    """How COCO metrics are computed."""

    backend: Literal["pycocotools", "hotcoco", "faster-coco-eval"]
    """The reference, or a faster one with the same numbers (pip install 'effdet-lightning[fasteval]')."""


@dataclass(frozen=True, kw_only=True)
class EvaluationKeys(EvaluationBackend):
    """When training evaluates, and how."""

    every: Annotated[int, "1.."] | None
    """Epochs between evaluations during training; null is trainer.check_val_every_n_epoch; the last epoch is always
    evaluated."""
    at_start: Literal["auto"] | bool
    """Also evaluate the initial weights, before the first step, so that a run that makes a model worse is noticed; auto
    does so where they have classes of the data. Not repeated on resume."""


@dataclass(frozen=True, kw_only=True)
class ModelPath:
    """A model file."""

    path: Path | None
    """A model file of `scale` or `search`; it sets backbone, neck, head and size together, for any task."""


@dataclass(frozen=True, kw_only=True)
class Classification:
    """EfficientNet's classifier; null is what the backbone's scaling says."""

    head_channels: Annotated[int, "1.."] | None
    """Width of the 1×1 convolution; 1280 for B0 and all of Lite (pretrained weights fit no other)."""
    dropout: Annotated[float, "0..0.99"] | None
    """Dropout before the dense layer; 0.2 for B0, more for larger members."""
    label_smoothing: Annotated[float, "0..0.99"]
    """Share of the target that is spread over all classes; the paper trains ImageNet with 0.1."""


@dataclass(frozen=True, kw_only=True)
class DetectionLossKeys(DetectionLoss):
    """The loss, with the rules from which class weights are made once the boxes are counted."""

    class_weights: Literal["sqrt", "effective"] | tuple[float, ...] | None = None
    """Weighs positive anchors of rare classes more: by 1 / √ of the boxes of a class in train, by one over their effective
    number (Cui et al. 2019, stronger), or a number for each class; the rules keep the mean over all boxes at 1."""


@dataclass(frozen=True, kw_only=True)
class Detection:
    """EfficientDet's class and box nets; null is what the compound scaling says."""

    repeats: Annotated[int, "0.."] | None
    """Convolutions before the last one; 3 for D0, 4 for D3."""
    bins: Annotated[int, "2..128"] | None
    """Predict each side of a box as a distribution over so many distances from the anchor's centre (0 to 2 anchor sides),
    trained with distribution focal loss; 17 is usual. null predicts deltas."""
    anchors: Overrides[AnchorSpec]
    loss: Overrides[DetectionLossKeys]
    postprocess: Overrides[PostProcess]


@dataclass(frozen=True, kw_only=True)
class Embedding:
    """The embedding head."""

    dim: Annotated[int, "1.."]
    """Dimensions of an embedding."""
    loss: Literal["arcface", "cosine"]
    """arcface adds a margin to the angle of the true identity."""
    margin: Annotated[float, "0..1.5"]
    """arcface: radians; the paper's 0.5 is for 10,000s of identities."""
    scale: Annotated[float, "1.."]
    """Factor of the cosines before the softmax; larger for more identities, 64 in the paper."""
    head_channels: Annotated[int, "1.."] | None
    """Width of the 1×1 convolution; null is the backbone's."""
    dropout: Annotated[float, "0..0.99"]
    """Dropout before the linear map."""
    label_smoothing: Annotated[float, "0..0.99"]
    """Share of the target that is spread over all identities."""


@dataclass(frozen=True, kw_only=True)
class Auxiliary:
    """A second place to classify, only in training."""

    level: Literal["C2", "C3", "C4", "C5", "P2", "P3", "P4", "P5", "P6", "P7", "P8", "P9"] | None
    """A level of the backbone (C4) or of the head (P5); null for none."""
    weight: Annotated[float, "0.01.."] | None
    """Weight of its loss; .4."""
    channels: Annotated[int, "1.."] | None
    """Width of the auxiliary head's convolution; 64."""


@dataclass(frozen=True, kw_only=True)
class SemanticLossKeys(SemanticLoss):
    """The loss, with the rules from which class weights are made once the masks are counted."""

    class_weights: Literal["median", "log", "sqrt"] | tuple[float, ...] | None = None
    """Weighs rare classes more in the cross-entropy: by their share of the training pixels (median is the strongest, then
    log, then sqrt), or a number for each class."""


@dataclass(frozen=True, kw_only=True)
class SemanticHeadKeys:
    """The semantic head; null is what the scaling says."""

    levels: tuple[Literal["P2", "P3", "P4", "P5", "P6", "P7", "P8", "P9"], ...]
    """Levels that the pyramid spans for this head, finest first; the map has the size of the finest."""
    merge: Literal["finest", "sum", "weighted"]
    """What is classified: only the finest level, or the sum of all, plain or by learned weights."""
    channels: Annotated[int, "1.."] | None
    """Width of the convolutions before the last one."""
    repeats: Annotated[int, "0.."] | None
    """Number of those convolutions."""
    separable: bool | None
    """false takes full convolutions, about 9 times as heavy."""
    dropout: Annotated[float, "0..0.99"] | None
    """Dropout of whole channels before the last convolution. null: 0."""
    auxiliary: Auxiliary
    loss: Overrides[SemanticLossKeys]


@dataclass(frozen=True, kw_only=True)
class Heads:
    """By head."""

    classification: Classification
    detection: Detection
    embedding: Embedding
    semantic: SemanticHeadKeys


@dataclass(frozen=True, kw_only=True)
class Balance:
    """How the losses of several heads are weighed."""

    rule: Literal["weights", "uncertainty"]
    """How the two losses are weighed: by fixed weights, or by learned variances."""
    detection: Annotated[float, "0.001.."]
    """Weight of the detection losses."""
    semantic: Annotated[float, "0.001.."]
    """Weight of the semantic losses."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """What is trained."""

    name: str
    """What is trained; `effdet train --help` lists the choices of the group."""
    needs: tuple[str, ...]
    """What a data set must label for this task."""
    monitor: str | tuple[str, ...] | None
    """Metric by which the best checkpoint is chosen; of several, their mean. null takes the main metric of each head."""
    balance: Balance


@dataclass(frozen=True, kw_only=True)
class Data(DataSpec):
    """A data set."""

    labels: tuple[str, ...]
    """What the set labels; for shards, what it may label: the index states the rest."""
    repeat_threshold: Literal["auto"] | Annotated[float, "0..1"] | None
    """Images with a class rarer than this share of images come more often (LVIS's rule); auto takes a third of the mean
    share where a class with 5 images or more lies below it; null shows each once an epoch."""
    unlabelled: str | None
    """Training: images without labels to learn from too: a folder with all below it, a pattern, or a list of one path a line.
    Needs ema. What they bring depends on the section pseudo_labels."""
    unlabelled_ratio: Annotated[float, "0<.."]
    """Images without labels for each labelled one, in every batch."""
    default_epochs: Annotated[int, "-1.."]
    """Passes over the training set where trainer.max_epochs says nothing."""
    boxes: Scaled[DataSpec] = field(default_factory=Scaled)
    masks: Scaled[DataSpec] = field(default_factory=Scaled)


@dataclass(frozen=True, kw_only=True)
class Backbone(BackboneSpec):
    """A backbone; null is the network's own."""

    name: str
    """Name of a timm network, with or without the tag of its weights; must be given with backbone=timm."""
    path: Path | None
    """The model file; must be given."""
    library: str
    """Library of an external network: timm."""
    options: Mapping[str, Any]
    """Further arguments of timm.create_model."""


@dataclass(frozen=True, kw_only=True)
class Trainer:
    """Arguments of Lightning's Trainer."""

    max_epochs: Annotated[int, "-1.."] | Literal["auto"] | None
    """Passes over the training set; auto takes the data file's default_epochs, or leaves it to the recipe; -1 or null with
    max_steps or max_time for no limit."""
    min_epochs: Annotated[int, "0.."] | None
    """Early stopping may not end the run before; max_steps and max_time may."""
    max_steps: Annotated[int, "-1.."]
    """Optimiser steps; -1 for no limit. The run is evaluated when it ends."""
    min_steps: Annotated[int, "0.."] | None
    """The same in optimiser steps."""
    max_time: str | Mapping[str, Any] | None
    """Time budget: 2h, 1h30m, 45m, HH:MM:SS, DD:HH:MM:SS or {hours: 2}; counts over resumes; the run is evaluated when
    it ends."""
    limit_train_batches: Annotated[int, "1.."] | Annotated[float, "0..1"]
    """Batches of an epoch, or a share of them (one at least)."""
    limit_val_batches: Annotated[int, "0.."] | Annotated[float, "0..1"]
    """Evaluate the first N batches of 8 images of val, or this share of its images; 0 turns the evaluation
    off."""
    limit_test_batches: Annotated[int, "0.."] | Annotated[float, "0..1"] | None
    """Not used here."""
    limit_predict_batches: Annotated[int, "0.."] | Annotated[float, "0..1"] | None
    """Not used here."""
    overfit_batches: Annotated[int, "0.."] | Annotated[float, "0..1"]
    """Train on only this many batches of each epoch (the set is still shuffled; use a small set)."""
    fast_dev_run: Annotated[int, "0.."] | bool
    """Run this many steps of everything and save nothing."""
    precision: Literal["32-true", "bf16-mixed", "16-mixed"]
    """Losses and boxes are float32 in all of them; bf16 halves memory on recent GPUs."""
    accumulate_grad_batches: Annotated[int, "1.."]
    """Batches of one optimiser step."""
    gradient_clip_val: Annotated[float, "0.."] | None
    """Limit of the gradient (10 in the reference code); null or 0 for no clipping."""
    gradient_clip_algorithm: Literal["norm", "value"]
    """By the norm of the whole gradient, or each entry by its value."""
    detect_anomaly: bool
    """Find the operation behind a NaN; several times slower."""
    deterministic: bool | Literal["warn"] | None
    """true makes CUDA repeatable where it can (slower), warn says where it can't."""
    benchmark: bool | None
    """Let cuDNN try its algorithms: faster with one image size."""
    check_val_every_n_epoch: Annotated[int, "1.."] | None
    """Evaluate after every this many epochs, and after the last; null counts in batches."""
    val_check_interval: Annotated[int, "1.."] | Annotated[float, "0..1"] | str | None
    """Evaluate inside epochs too: every this many batches, a share of an epoch, or a time such as 30m."""
    num_sanity_val_steps: Annotated[int, "0.."]
    """An evaluation before the first step (1 turns it on)."""
    inference_mode: bool | None
    """false evaluates under no_grad instead."""
    accelerator: Literal["auto", "cpu", "gpu", "cuda", "mps", "tpu", "hpu"]
    """Lightning's accelerator."""
    devices: Annotated[int, "-1.."] | Literal["auto"] | str | tuple[int, ...]
    """Number of devices, or their indices; -1 is all GPUs."""
    num_nodes: Annotated[int, "1.."]
    """Machines."""
    strategy: str
    """Lightning's strategy: auto, ddp, …."""
    sync_batchnorm: bool
    """Statistics over all GPUs' images: worth it below 16 images a GPU."""
    use_distributed_sampler: bool
    """Has no effect: the loader deals out the images itself."""
    logger: bool | Sequence[Mapping[str, Any]]
    """false writes no metrics at all; a list adds loggers, [{_target_: package.Logger}], to those of the key `logger`."""
    log_every_n_steps: Annotated[int, "1.."]
    """Optimiser steps between two rows of metrics."""
    enable_progress_bar: bool | None
    """Lightning's switch; set the key `progress` instead."""
    enable_model_summary: bool | None
    """Print Lightning's table of modules."""
    enable_checkpointing: bool
    """false saves nothing: no resume, no best.ckpt."""
    enable_autolog_hparams: bool | None
    """Has no effect: config.yaml is written instead."""
    default_root_dir: Path | None
    """Has no effect: run_dir is the folder."""
    profiler: Literal["simple", "advanced", "pytorch", "xla"] | None
    """Lightning's profiler."""
    callbacks: Sequence[Mapping[str, Any]] | None
    """Lightning callbacks, [{_target_: package.Callback, argument: 1}]."""
    plugins: Any
    """Lightning plugins, only from Python."""
    barebones: bool | None
    """Lightning's mode for timing itself."""
    reload_dataloaders_every_n_epochs: Annotated[int, "0.."]
    """Has no effect on what is drawn: every epoch has its own order."""
    model_registry: str | None
    """Lightning's registry of checkpoints."""
