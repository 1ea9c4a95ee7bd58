"""The keys of each command: what they may be and what they mean, for help, checks and the reference page.

Read as text by :mod:`effdet.cli.declared`, so that no command waits for the imports below. Values stand in ``conf/``; what a
package's own settings declare is taken from them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, TypeVar

from backbones.spec import BackboneSpec
from effdet.data.augment import AugmentSpec
from effdet.data.progressive import Progression
from effdet.data.spec import DataSpec
from effdet.export.settings import ExportSettings
from effdet.necks.pyramid import NeckSpec
from effdet.preprocess import Preprocess
from effdet.training.settings import CheckpointSettings, EarlyStoppingSettings, NonFiniteSettings, OptimizerSettings
from heads.detection.anchors import AnchorSpec
from heads.detection.losses import DetectionLoss
from heads.detection.postprocess import PostProcess
from heads.semantic_inference import SemanticInference
from heads.semantic_losses import SemanticLoss

T = TypeVar("T")


class Overrides(Generic[T]):
    """The keys of T; null leaves one at its default."""


class Scaled(Generic[T]):
    """The keys of T; null leaves one to the scaling or the data."""


@dataclass(frozen=True, kw_only=True)
class OpenModel:
    """A model to use."""

    model: Path | None
    """A run folder, a checkpoint or .safetensors file, or the name of a published model; must be given."""
    weights: Literal["auto"] | Path | None
    """For a model by name, its weights; auto may download the published ones."""
    conventions: str | None
    """What a weight file leaves open, as the name of the model it was made for; asked for when it matters."""
    strict: bool
    """false loads weights that fit only in part, and says what was left over."""
    trust: bool
    """true reads weight files that hold pickled code, and imports the ``_target_`` classes that a file names; such a file can
    do anything to this machine."""


@dataclass(frozen=True, kw_only=True)
class Semantic(SemanticInference):
    """How segmentation maps are found; the defaults are one pass over the whole image."""

    sliding: tuple[int, int] | None
    """Height and width in pixels of windows that slide over the input (with image_size= as large as the images);
    sides in multiples of 32."""


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
    """Evaluate the starting weights too, before the first step, so that a run that makes a model worse is seen; auto
    does where they know classes of the data. Not repeated by a resume."""


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
    """Before the dense layer; 0.2 for B0, more for larger members."""
    label_smoothing: Annotated[float, "0..0.99"]
    """Share of the target that is spread over all classes; the paper trains ImageNet with 0.1."""


@dataclass(frozen=True, kw_only=True)
class Detection:
    """EfficientDet's class and box nets; null is what the compound scaling says."""

    repeats: Annotated[int, "0.."] | None
    """Convolutions before the last one; 3 for D0, 4 for D3."""
    anchors: Overrides[AnchorSpec]
    loss: Overrides[DetectionLoss]
    postprocess: Overrides[PostProcess]


@dataclass(frozen=True, kw_only=True)
class Embedding:
    """The embedding head."""

    dim: Annotated[int, "1.."]
    """Numbers in an embedding."""
    loss: Literal["arcface", "cosine"]
    """arcface adds a margin to the angle of the true identity."""
    margin: Annotated[float, "0..1.5"]
    """arcface: radians; the paper's 0.5 is for 10,000s of identities."""
    scale: Annotated[float, "1.."]
    """Of the cosines before the softmax; larger for more identities, 64 in the paper."""
    head_channels: Annotated[int, "1.."] | None
    """Width of the 1×1 convolution; null is the backbone's."""
    dropout: Annotated[float, "0..0.99"]
    """Before the linear map."""
    label_smoothing: Annotated[float, "0..0.99"]
    """Share of the target that is spread over all identities."""


@dataclass(frozen=True, kw_only=True)
class Auxiliary:
    """A second place to classify, in training alone."""

    level: Literal["C2", "C3", "C4", "C5", "P2", "P3", "P4", "P5", "P6", "P7", "P8", "P9"] | None
    """A level of the backbone (C4) or of the head (P5); null for none."""
    weight: Annotated[float, "0.01.."] | None
    """Of its loss; .4."""
    channels: Annotated[int, "1.."] | None
    """Width of its one convolution; 64."""


@dataclass(frozen=True, kw_only=True)
class SemanticLossKeys(SemanticLoss):
    """The loss, with the rules from which class weights are made once the masks are counted."""

    class_weights: Literal["median", "log", "sqrt"] | tuple[float, ...] | None = None
    """Lifts rare classes in the cross-entropy: by their share of the training pixels (median is the strongest, then
    log, then sqrt), or a number for each class."""


@dataclass(frozen=True, kw_only=True)
class SemanticHeadKeys:
    """The semantic head; null is what the scaling says."""

    levels: tuple[Literal["P2", "P3", "P4", "P5", "P6", "P7", "P8", "P9"], ...]
    """Levels that the pyramid spans for this head, finest first; the map has the size of the finest."""
    merge: Literal["finest", "sum", "weighted"]
    """What is classified: the finest level alone, or the sum of all, plain or by learned weights."""
    channels: Annotated[int, "1.."] | None
    """Width of the convolutions before the last one."""
    repeats: Annotated[int, "0.."] | None
    """Their number."""
    separable: bool | None
    """false takes full convolutions, about 9 times as heavy."""
    dropout: Annotated[float, "0..0.99"] | None
    """Of whole channels before the last convolution. null: 0."""
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
    """How the two losses are weighed: by the numbers below, or by learned variances."""
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
    """The metric by which the best checkpoint is chosen; of several, their mean. None takes the chief ones of the heads."""
    balance: Balance


@dataclass(frozen=True, kw_only=True)
class Data(DataSpec):
    """A data set."""

    labels: tuple[str, ...]
    """What the set labels; of shards, what it may label: the index has the rest."""
    repeat_threshold: Annotated[float, "0..1"] | None
    """Images with a class rarer than this share of images come more often (LVIS's rule); null shows each once an
    epoch."""
    default_epochs: Annotated[int, "-1.."]
    """Passes over the training set where trainer.max_epochs says nothing."""
    boxes: Scaled[DataSpec] = field(default_factory=Scaled)
    masks: Scaled[DataSpec] = field(default_factory=Scaled)


@dataclass(frozen=True, kw_only=True)
class Backbone(BackboneSpec):
    """A backbone; null is the network's own."""

    name: str
    """Of a network of timm, with or without the tag of its weights; must be given. Other choices name themselves."""
    path: Path | None
    """The model file; must be given."""
    library: str
    """Whose network it is, where it is not ours: timm."""
    options: Mapping[str, Any]
    """Further arguments of timm.create_model."""


@dataclass(frozen=True, kw_only=True)
class Trainer:
    """Arguments of Lightning's Trainer."""

    max_epochs: Annotated[int, "-1.."] | None
    """Passes over the training set: 50, or as many as the data file says in default_epochs; -1 or null with max_steps
    or max_time for no limit."""
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
    """Train on so few batches of each epoch (the set is still shuffled; use a small set)."""
    fast_dev_run: Annotated[int, "0.."] | bool
    """So many steps of everything, with nothing saved."""
    precision: Literal["32-true", "bf16-mixed", "16-mixed"]
    """Losses and boxes are float32 in all of them; bf16 halves memory on recent GPUs."""
    accumulate_grad_batches: Annotated[int, "1.."]
    """Batches of one optimiser step."""
    gradient_clip_val: Annotated[float, "0.."] | None
    """Longest gradient (the reference code's 10); null or 0 for no clipping."""
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
    """auto, cpu, gpu, mps."""
    devices: Annotated[int, "-1.."] | Literal["auto"] | str | tuple[int, ...]
    """How many, or which; -1 is all GPUs."""
    num_nodes: Annotated[int, "1.."]
    """Machines."""
    strategy: str
    """auto, ddp, …."""
    sync_batchnorm: bool
    """Statistics over all GPUs' images: worth it below 16 images a GPU."""
    use_distributed_sampler: bool
    """Has no effect: the loader deals out the images itself."""
    logger: bool | Sequence[Mapping[str, Any]]
    """false writes no metrics at all; a list adds loggers of your own, [{_target_: package.Logger}], to those of the key
    `logger`."""
    log_every_n_steps: Annotated[int, "1.."]
    """Optimiser steps between two rows of metrics."""
    enable_progress_bar: bool | None
    """Lightning's switch; the key `progress` is ours."""
    enable_model_summary: bool | None
    """Print Lightning's table of modules."""
    enable_checkpointing: bool
    """false saves nothing: no resume, no best.ckpt."""
    enable_autolog_hparams: bool | None
    """Has no effect: config.yaml is written instead."""
    default_root_dir: Path | None
    """Has no effect: run_dir is the folder."""
    profiler: Literal["simple", "advanced", "pytorch", "xla"] | None
    """Simple, advanced, pytorch."""
    callbacks: Sequence[Mapping[str, Any]] | None
    """Lightning callbacks, [{_target_: package.Callback, argument: 1}]."""
    plugins: Any
    """Lightning's objects, from Python callers."""
    barebones: bool | None
    """Lightning's mode for timing itself."""
    reload_dataloaders_every_n_epochs: Annotated[int, "0.."]
    """Has no effect on what is drawn: every epoch has its own order."""
    model_registry: str | None
    """Lightning's registry of checkpoints."""


@dataclass(frozen=True, kw_only=True)
class Train:
    """Keys of `effdet train`."""

    model: str | None
    """Name of a published model (tf_efficientdet_d0); it sets backbone, neck, head and size together, and `effdet
    info` lists them."""
    phi: Annotated[float, "-4..6"] | None
    """Continuous compound scaling of backbone, neck, head and size together; 0 is D0, below 0 is smaller and faster."""
    image_size: int | tuple[int, int] | None
    """Input in pixels, a side or [height, width]; null takes the canvas of streets, else the model's own size."""
    weights: Literal["auto-cached", "auto", "none"] | Path | None
    """Where to start from. auto-cached takes the best weights already on this disk; where there are none, your own data
    is refused and streets starts from random ones. auto may download; none (or null) is random; else a name or a file."""
    conventions: str | None
    """What a weight file leaves open (padding, BatchNorm, pixel statistics), as the name of the model it was made for;
    asked for when it matters."""
    strict: bool
    """false loads weights that fit only in part, and says what was left over."""
    trust: bool
    """true reads weight files that hold pickled code, and imports the ``_target_`` classes that a file names; such a file can
    do anything to this machine."""
    run_dir: Path | None
    """Folder of the run; null makes runs/TASK-DATA-BACKBONE-N. One that holds a run is refused without one of the next
    two."""
    resume: Literal["auto"] | Path | None
    """Go on with the run in run_dir (auto) or with the run or checkpoint at PATH, with its configuration."""
    overwrite: bool
    """true deletes the run that run_dir holds."""
    batch_size: Annotated[int, "1.."] | Literal["auto"]
    """Images a step on each device; auto takes what fits (on a CPU, what keeps it busy)."""
    workers: Annotated[int, "0.."] | None
    """Loader processes on each device; null goes by the CPU cores. The result doesn't depend on it."""
    cpu_processes: Annotated[int, "1.."]
    """On a CPU, train in this many processes, each with its share of the cores, a batch of its own and the mean of all
    gradients: two cores then do twice the work of one. The result depends on it."""
    device: Literal["auto", "cpu", "cuda", "mps"]
    """Where to compute; auto takes the best there is."""
    seed: Annotated[int, "0.."]
    """Every random choice follows from it: same seed, same run."""
    max_images: Annotated[int, "1.."] | None
    """Only the first N images of each split, for a quick try."""
    ema: Annotated[float, "0..0.99999"] | bool | None
    """Decay of the moving average of the weights, which is what is evaluated and saved; false turns it off."""
    norm_momentum: Annotated[float, "0..1"] | None
    """Share of the newest batch in BatchNorm's running statistics; null is the model's own, or 10 / batches of an
    epoch (up to .1) where that is faster: short runs need it."""
    freeze_epochs: Annotated[int, "0.."]
    """The first N epochs train only the heads, the rest is frozen as by freeze=[backbone,neck] and trains from
    then on: a new head then does no harm to good weights."""
    freeze: str | tuple[str, ...] | None
    """Parts that do not learn, and compute the same in every step (statistics kept, no stochastic depth, no dropout):
    backbone, neck, a head's name, bn (every BatchNorm) or a path such as backbone.stem."""
    grad_checkpointing: bool
    """true computes activations twice instead of storing them: about a third slower, far less memory."""
    compile: bool
    """true runs the model through torch.compile: minutes of waiting first, faster steps after, on a GPU above all."""
    channels_last: bool
    """false lays images out with channels first; slower on most devices."""
    sync_bn: bool
    """true shares BatchNorm statistics between GPUs; worth it below about 8 images a device."""
    preflight: bool
    """false skips the checks of seconds before training: do the annotations score as perfect predictions, do loaded
    weights detect and compute the same in training mode, is the first loss the prior's, does a step lower it, do
    gradients reach all."""
    logger: Literal["tensorboard", "wandb", "mlflow"] | tuple[str, ...] | None
    """Besides metrics.csv, which is always written; wandb and mlflow need effdet-lightning[log]."""
    progress: bool
    """false draws no progress bar."""
    score_threshold: Annotated[float, "0..1"] | None
    """Detections below are dropped; null is .001, as COCO results are reported."""
    nms_iou: Annotated[float, "0..1"] | None
    """Of two boxes of a class that overlap by more the better stays; null is .5."""
    max_detections: Annotated[int, "1.."] | None
    """Detections of an image; null is 100, as COCO counts."""
    report: bool
    """false writes no report.html (curves, intervals, mistakes, images) at the end, which takes seconds."""
    architecture: ModelPath
    preprocess: Scaled[Preprocess]
    progressive: Progression
    early_stopping: EarlyStoppingSettings
    checkpoint: CheckpointSettings
    nonfinite: NonFiniteSettings
    evaluation: EvaluationKeys
    trainer: Trainer
    data: Data
    backbone: Scaled[Backbone]
    neck: Scaled[NeckSpec]
    head: Heads
    optimizer: OptimizerSettings
    augment: AugmentSpec
    task: Task


@dataclass(frozen=True, kw_only=True)
class Evaluate(OpenModel):
    """Keys of `effdet evaluate`."""

    split: Literal["train", "val", "test"]
    """What to measure on."""
    max_images: Annotated[int, "1.."] | None
    """Only the first N images; null is all, or as many as the run was limited to."""
    image_size: int | tuple[int, int] | None
    """Input in pixels, a side or [height, width]; null is the model's own."""
    batch_size: Annotated[int, "1.."]
    """Images at once; the numbers do not depend on it."""
    workers: Annotated[int, "0.."] | None
    """Loader processes; null goes by the CPU cores."""
    device: Literal["auto", "cpu", "cuda", "mps"]
    """Where to compute; auto takes the best there is."""
    precision: Literal["fp32", "bf16", "fp16"] | None
    """Arithmetic of the network; null is fp32."""
    score_threshold: Annotated[float, "0..1"] | None
    """Detections below are dropped; null is the model's own (.001, as COCO results are reported)."""
    nms_iou: Annotated[float, "0..1"] | None
    """Of two boxes of a class that overlap by more the better stays; null is the model's own."""
    max_detections: Annotated[int, "1.."] | None
    """Detections of an image; null is the model's own."""
    class_maps: bool
    """true also writes each image's segmentation map as PNG, in the set's own ids as Cityscapes takes submissions, to
    class_maps/ in the folder of the results."""
    out: Path | None
    """Folder for the results; null is evaluation/SPLIT in the run, or evaluations/MODEL-DATA-SPLIT."""
    report: bool
    """false writes no report.html (curves, intervals, mistakes, images), which takes seconds."""
    semantic: Semantic
    evaluation: EvaluationBackend
    data: Data


@dataclass(frozen=True, kw_only=True)
class PredictKeys:
    """What is made of predictions."""

    draw: bool
    """false writes no annotated images or video, only the tables."""
    alpha: Annotated[float, "0..1"]
    """How much of a segmentation map's colour covers the image."""
    ids: Literal["running", "name"]
    """Image ids count from 1, and predictions.json lists the images; or they are the numbers in the file names
    (COCO's sets), and predictions.json is the bare list that pycocotools' loadRes takes."""
    tiles: bool
    """true looks at overlapping tiles too: finds smaller things in large images, for the time of one pass a tile."""
    tile_size: Annotated[int, "32.."] | None
    """Pixels of a tile's side; null is the network's input, so that nothing is reduced."""
    tile_overlap: Annotated[float, "0..0.9"]
    """Share of a tile that its neighbour sees too."""
    track: bool
    """true numbers objects through a video (or a folder of its frames), draws their trails, and writes MOTChallenge's
    form."""
    track_low: Annotated[float, "0..1"]
    """Weak detections from here on may continue a track, though not start one."""
    track_patience: Annotated[float, "0.."]
    """Seconds that an object may be out of sight and keep its number; by the frames' own times, 25 a second for a
    folder of images."""
    every: Annotated[int, "1.."]
    """Only every n-th frame of a video; the drawn video has those, at their times."""
    reconnect: Annotated[float, "0.."]
    """Seconds for which a camera or stream that breaks off is opened again and again; 0 ends the run, with exit code
    1."""


@dataclass(frozen=True, kw_only=True)
class Predict(OpenModel):
    """Keys of `effdet predict`."""

    source: Path | None
    """An image or a video, a folder of them, a pattern such as FOLDER/*.jpg, a list (.txt, one path a line), a camera
    (0, 1, …) or a stream (rtsp://…, https://…); must be given."""
    out: Path
    """Folder for what is written; results of other sources with the same settings stay, and the tables hold all."""
    resume: Literal["auto"] | None
    """auto goes on with what an earlier run to the same out was stopped in; a video that was not finished begins
    anew."""
    overwrite: bool
    """true replaces results of other settings that out holds."""
    unreadable: Literal["warn", "error"]
    """An image, video or frame that cannot be read is named, counted and left out, or ends the run."""
    max_images: Annotated[int, "1.."] | None
    """Only the first N images, and frames of each video."""
    image_size: int | tuple[int, int] | None
    """Input in pixels, a side or [height, width]; null is the model's own."""
    batch_size: Annotated[int, "1.."]
    """Images at once."""
    device: Literal["auto", "cpu", "cuda", "mps"]
    """Where to compute; auto takes the best there is."""
    precision: Literal["fp32", "bf16", "fp16"] | None
    """Arithmetic of the network; null is fp32."""
    score_threshold: Annotated[float, "0..1"]
    """Detections below are not shown; lower finds more, and more that is wrong."""
    nms_iou: Annotated[float, "0..1"] | None
    """Of two boxes of a class that overlap by more the better stays; null is the model's own."""
    max_detections: Annotated[int, "1.."] | None
    """Detections of an image, with tiles too; null is the model's own."""
    semantic: Semantic
    predict: PredictKeys


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """How int8 measures its ranges."""

    images: Annotated[int, "1.."]
    """Images that int8 measures its ranges on: of the train split of data, or of source."""


@dataclass(frozen=True, kw_only=True)
class Gate:
    """How file and model are compared."""

    images: Annotated[int, "1.."]
    """Images that model and file are compared on, output by output."""
    metrics: bool
    """false leaves out the comparison of AP on data."""


@dataclass(frozen=True, kw_only=True)
class ToleranceKeys:
    """How far they may be apart; null is usual for the precision."""

    logit: Annotated[float, "0.."] | None
    """Largest difference of a class logit; null is the usual one of the precision."""
    box: Annotated[float, "0.."] | None
    """Largest difference of a box coordinate in input pixels; null is the usual one of the precision."""
    output: Annotated[float, "0.."] | None
    """Largest difference of another head's output; null is the usual one of the precision."""
    agreement: Annotated[float, "0..1"] | None
    """Least share of the model's confident detections that the file makes too; null is the usual one of the
    precision."""
    drop: Annotated[float, "-1..1"] | None
    """Most that AP, mIoU or top-1 may lose; null is the usual one of the precision."""


@dataclass(frozen=True, kw_only=True)
class Export(OpenModel, ExportSettings):
    """Keys of `effdet export`."""

    out: Path | None
    """The file, or a folder that is there; null is export/NAME.SUFFIX in the run, or exports/NAME.SUFFIX."""
    image_size: int | tuple[int, int] | None
    """Input in pixels, a side or [height, width]; null is the model's own."""
    score_threshold: Annotated[float, "0..1"] | None
    """Detections below are dropped; null is the model's own (.001, as COCO results are reported)."""
    nms_iou: Annotated[float, "0..1"] | None
    """Of two boxes of a class that overlap by more the better stays; null is the model's own."""
    max_detections: Annotated[int, "1.."] | None
    """Detections of an image; null is the model's own."""
    source: Path | None
    """Images without labels to compare and calibrate on, as predict takes them."""
    split: Literal["train", "val", "test"]
    """Of data, what AP is measured on."""
    max_images: Annotated[int, "1.."] | None
    """Measure AP on the first N images; null is all, or as many as the run was limited to."""
    threads: Annotated[int, "1.."] | None
    """Of the file's runtime in the comparison; null takes as many as torch."""
    calibration: Calibration
    gate: Gate
    tolerance: ToleranceKeys
    data: Data


@dataclass(frozen=True, kw_only=True)
class ServeKeys:
    """Limits of the server."""

    lowest_score: Annotated[float, "0..1"]
    """No request gets boxes below; lower costs time in post-processing."""
    max_megabytes: Annotated[float, "0.."]
    """Of a request's body; larger ones are refused (413)."""
    max_megapixels: Annotated[float, "0.."]
    """Of an image, evaluated by its header before it is decoded (413)."""
    timeout: Annotated[float, "0.."]
    """Seconds for a body to arrive (408), and for an answer (504)."""
    queue: Annotated[int, "1.."]
    """Requests in work or waiting; more are refused at once (503)."""
    wait: Annotated[float, "0.."]
    """Maximum batching delay in seconds: how long a batch that is not full waits for more requests."""


@dataclass(frozen=True, kw_only=True)
class Serve(OpenModel):
    """Keys of `effdet serve`."""

    host: str
    """Address to listen on; 127.0.0.1 answers this machine alone, 0.0.0.0 everyone."""
    port: Annotated[int, "0..65535"]
    """0 takes a free one."""
    image_size: int | tuple[int, int] | None
    """Input in pixels, a side or [height, width]; null is the model's own."""
    batch_size: Annotated[int, "1.."]
    """Images of several requests that go through the model together."""
    device: Literal["auto", "cpu", "cuda", "mps"]
    """Where to compute; auto takes the best there is."""
    precision: Literal["fp32", "bf16", "fp16"] | None
    """Arithmetic of the network; null is fp32."""
    score_threshold: Annotated[float, "0..1"]
    """Boxes below are left out where a request does not say."""
    nms_iou: Annotated[float, "0..1"] | None
    """Of two boxes of a class that overlap by more the better stays; null is the model's own."""
    max_detections: Annotated[int, "1.."] | None
    """Detections of an image; null is the model's own."""
    semantic: Semantic
    serve: ServeKeys


@dataclass(frozen=True, kw_only=True)
class Explain(OpenModel):
    """Keys of `effdet explain`."""

    source: Path | None
    """An image, a folder of images, or a pattern such as FOLDER/*.jpg; null explains the neck alone."""
    out: Path
    """Folder for what is written."""
    max_images: Annotated[int, "1.."] | None
    """Only the first N images."""
    head: str | None
    """Explain this head; null takes each that the model has."""
    layer: str | None
    """Features to look at, C1 to C5 or a level of the neck; null is C5, for boxes the level that found them."""
    method: Literal["grad", "hires"] | None
    """Grad-CAM, or HiResCAM, which keeps the gradient where it is; null is hires for boxes, grad for all else."""
    most: Annotated[int, "1.."]
    """Things to explain in an image: its best boxes, its largest or likeliest classes."""
    score_threshold: Annotated[float, "0..1"]
    """Boxes below are not explained."""
    device: Literal["auto", "cpu", "cuda", "mps"]
    """Where to compute; auto takes the best there is."""


@dataclass(frozen=True, kw_only=True)
class DoctorKeys:
    """What the doctor does."""

    fail_on: Literal["error", "warning", "none"]
    """The lowest level of finding that makes the exit code 1."""
    fix: bool
    """true writes a repaired copy of the annotations, with links to the valid images, into out/repaired."""
    anchors: bool
    """false leaves out whether the anchors of the model fit the boxes."""


@dataclass(frozen=True, kw_only=True)
class Doctor:
    """Keys of `effdet doctor`."""

    split: Literal["train", "val", "test"] | None
    """Only this split; null is all that there are, which finds images that are in two."""
    max_images: Annotated[int, "1.."] | None
    """Only the first N images of each split."""
    workers: Annotated[int, "0.."] | None
    """Processes that read images; null goes by the CPU cores."""
    out: Path
    """Folder for doctor.html and doctor.json."""
    progress: bool
    """false draws no progress bar."""
    model: Path | None
    """Name of a published model, or a run, checkpoint or .safetensors file."""
    phi: Annotated[float, "-4..6"] | None
    """Continuous compound scaling; 0 is D0."""
    image_size: int | tuple[int, int] | None
    """Input in pixels, a side or [height, width]; null is that of the data or the model."""
    trust: bool
    """true reads a model file that holds pickled code, and imports the ``_target_`` classes that it names; such a file can do
    anything to this machine."""
    architecture: ModelPath
    doctor: DoctorKeys
    data: Data
    backbone: Scaled[Backbone]
    head: Heads


@dataclass(frozen=True, kw_only=True)
class Shards:
    """Keys of `effdet shards`."""

    split: Literal["train", "val", "test"]
    """What to write."""
    out: Path | None
    """Folder to write to; must be given."""
    megabytes: Annotated[float, "0.."]
    """10^6 bytes from which a shard is full."""
    shuffle: Annotated[int, "0.."] | None
    """Seed by which images are mixed before they are written, since training mixes those of a few shards only; null
    keeps their order."""
    max_images: Annotated[int, "1.."] | None
    """Only the first N images."""
    overwrite: bool
    """true replaces the split that out holds."""
    data: Data


@dataclass(frozen=True, kw_only=True)
class Candidates:
    """Coefficients that are tried."""

    alpha: tuple[float, ...]
    """Depths."""
    beta: tuple[float, ...]
    """Widths."""
    gamma: tuple[float, ...]
    """Input sizes."""
    tolerance: Annotated[float, "0..1"]
    """A candidate's alpha * beta^2 * gamma^2 may differ from 2 by this share."""


@dataclass(frozen=True, kw_only=True)
class Scale:
    """Keys of `effdet scale`."""

    fit_latency_ms: Annotated[float, "0.001.."] | None
    """Milliseconds of one image, measured here: the largest phi within it is found by bisection."""
    fit_memory_mb: Annotated[float, "0.001.."] | None
    """10^6 bytes that one image takes, weights included, measured here."""
    fit_gmacs: Annotated[float, "0.000001.."] | None
    """10^9 multiply-adds of one image, counted."""
    phi: Annotated[float, "-4..6"] | None
    """Without coefficients the published scaling (0 is D0); with them so many steps from the base."""
    alpha: Annotated[float, "1.."] | None
    """Depth of one step; alpha, beta and gamma go together."""
    beta: Annotated[float, "1.."] | None
    """Width of one step."""
    gamma: Annotated[float, "1.."] | None
    """Input size of one step."""
    grid: bool
    """true trains each candidate below and takes the best as coefficients (the paper's step 1)."""
    compare: bool
    """true trains compound scaling against depth, width and resolution alone, at equal multiply-adds."""
    base_phi: Annotated[float, "-4..6"] | None
    """The base model is that of this phi; null takes backbone= or architecture.path=."""
    kinds: tuple[str, ...]
    """What is compared."""
    seeds: Annotated[int, "1.."]
    """Trainings of each in the comparison, with the seeds seed, seed + 1, …; the grid takes the first alone."""
    size_step: Annotated[int, "1.."]
    """Input sides are rounded to a multiple of so many pixels."""
    jobs: Annotated[int, "1.."]
    """Trainings at a time, each in its own process."""
    engine: Literal["local", "ray"]
    """Where they run: this machine, or a Ray cluster (pip install 'effdet-lightning[ray]')."""
    num_classes: Annotated[int, "1.."] | None
    """Classes that costs are counted with; null is the published number."""
    runs: Annotated[int, "5.."]
    """Passes whose median is the latency, after three others."""
    threads: Annotated[int, "1.."] | None
    """CPU threads of the measured passes; null is as many as torch takes."""
    out: Path | None
    """The model file; null is architectures/NAME.json, or best.json in run_dir."""
    run_dir: Path | None
    """Folder of the trainings, their table and plot; null is runs/scale-TASK-DATA."""
    resume: Literal["auto"] | None
    """auto goes on with the study in run_dir."""
    overwrite: bool
    """true deletes the study in run_dir."""
    candidates: Candidates


@dataclass(frozen=True, kw_only=True)
class Space:
    """The networks that may be proposed."""

    fused: bool
    """true offers Fused-MBConv too."""
    divisor: Annotated[int, "1.."]
    """Filters are multiples of it; with narrow bases 4 keeps the options apart."""


@dataclass(frozen=True, kw_only=True)
class Evolution:
    """Of algorithm=evolution."""

    population: Annotated[int, "1.."]
    """Candidates that live at a time; the first N are random."""
    sample: Annotated[int, "1.."]
    """Of them so many compete to be a parent."""


@dataclass(frozen=True, kw_only=True)
class Search:
    """Keys of `effdet search`."""

    algorithm: Literal["ppo", "reinforce", "evolution", "random"]
    """Who proposes the candidates."""
    trials: Annotated[int, "1.."]
    """Candidates in all; a study that has them may be given more later."""
    batch: Annotated[int, "1.."]
    """Candidates between two updates of the algorithm; as many can be trained at a time."""
    reward: Literal["soft", "hard"]
    """Accuracy · (cost / target)^w; soft: w = -0.07. hard: w = 0 up to the target, -1 above it."""
    cost: Literal["gmacs", "latency"]
    """Multiply-adds of the whole model, counted, or milliseconds of an image, measured here between the trainings."""
    target: Annotated[float, "0.000001.."] | None
    """Cost that is asked for, in 10^9 multiply-adds or milliseconds; null is that of the base."""
    base_phi: Annotated[float, "-4..6"] | None
    """The base model is that of this phi; null takes backbone= or architecture.path=."""
    jobs: Annotated[int, "1.."]
    """Trainings at a time, each in its own process."""
    engine: Literal["local", "ray"]
    """Where they run: this machine, or a Ray cluster (pip install 'effdet-lightning[ray]')."""
    timeout: Annotated[float, "1.."] | None
    """Seconds that one candidate may take before it counts as failed; null waits (local alone)."""
    num_classes: Annotated[int, "1.."] | None
    """Classes that costs are counted with; null is the published number."""
    runs: Annotated[int, "5.."]
    """Passes whose median is the latency, after three others."""
    threads: Annotated[int, "1.."] | None
    """CPU threads of each training and of the measured passes; null shares out the cores."""
    out: Path | None
    """The model file of the best; null is best.json in run_dir."""
    run_dir: Path | None
    """Folder of the study, its trainings, table and plot; null is runs/search-TASK-DATA."""
    resume: Literal["auto"] | None
    """auto goes on with the study in run_dir."""
    overwrite: bool
    """true deletes the study in run_dir."""
    space: Space
    evolution: Evolution


@dataclass(frozen=True, kw_only=True)
class Compare:
    """Keys of `effdet compare`."""

    first: Path | None
    """A, a run folder or a folder of evaluate; or the folder of a multirun; must be given."""
    second: Path | None
    """B, likewise (none with a multirun); differences are B - A."""
    samples: Annotated[int, "100.."]
    """Of the bootstrap."""
    seed: Annotated[int, "0.."]
    """Same seed, same samples."""
    level: Annotated[float, "0.5..0.999"]
    """How often such intervals should hold the true difference."""
    out: Path
    """Folder for compare.json and compare.html."""


@dataclass(frozen=True, kw_only=True)
class Replay:
    """Keys of `effdet replay`."""

    file: Path | None
    """A step_N.pt of the folder nonfinite/ of a run; must be given."""
    device: Literal["auto", "cpu", "cuda", "mps"]
    """Where to compute; the run's own kind of device repeats its numbers best."""
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] | None
    """Arithmetic of the step; null is the run's."""
    trust: bool
    """Import heads and other classes of your own that the file names, which runs their code."""
    out: Path | None
    """Where to draw the step's images with their targets; null is beside the file."""


@dataclass(frozen=True, kw_only=True)
class Info:
    """Keys of `effdet info`."""

    model: Path | None
    """Name of a published model, or a run, checkpoint, .safetensors or model file (.json)."""
    phi: Annotated[float, "-4..6"] | None
    """Continuous compound scaling of backbone, neck, head and size together."""
    image_size: int | tuple[int, int] | None
    """Input in pixels, a side or [height, width]; null is the model's own."""
    num_classes: Annotated[int, "1.."] | None
    """Classes of a model that is composed; null is the published number."""
    env: bool
    """true describes versions and hardware."""
    trust: bool
    """true reads files that hold pickled code, and imports the ``_target_`` classes that they name; such a file can do anything
    to this machine."""
    architecture: ModelPath
