"""What a training run can be reported, as frozen dataclasses; the fields are the configuration's keys."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from backbones.fields import build
from effdet.durations import seconds_of
from effdet.plugins import TARGET, is_target
from effdet.training.trainer_arguments import problems
from heads.fields import check_fields
from heads.structures import UserError

SHARDED = ("fsdp", "deepspeed", "model_parallel")
"""Strategies that split weights over devices."""
PRECISIONS = ("32", "32-true", "bf16-mixed", "16-mixed")


@dataclass(frozen=True)
class OptimizerSettings:
    """Optimiser and learning-rate schedule (``conf/optimizer``)."""

    name: Literal["sgd", "adamw", "rmsprop"] = "sgd"
    """The optimiser."""
    lr: Annotated[float, "0<.."] = 0.08
    """Peak learning rate of a step of `base_batch_size` images."""
    base_batch_size: Annotated[int, "1.."] | None = 64
    """Images of a step that `lr` is meant for: peak = lr * (batch_size * trainer.accumulate_grad_batches * processes) /
    base_batch_size. null: peak = lr, whatever the batch."""
    momentum: Annotated[float, "0..1"] = 0.9
    """Momentum of sgd and rmsprop."""
    nesterov: bool = False
    """Nesterov's form of the momentum of sgd."""
    betas: tuple[Annotated[float, "0..<1"], Annotated[float, "0..<1"]] = (0.9, 0.999)
    """Decay of the two moments of adamw."""
    weight_decay: Annotated[float, "0.."] = 4e-5
    """Only on weights of two and more dimensions: never on norms, biases and fusion weights."""
    backbone_lr_scale: Annotated[float, "0.."] = 1.0
    """Factor of the backbone's learning rate; below 1 (0.1) preserves pretrained weights on little data."""
    layer_decay: Annotated[float, "0<..1"] = 1.0
    """Factor from the learning rate of each block of the backbone to that of the block before it; 0.8 changes early
    layers less when fine-tuning."""
    schedule: Literal["cosine", "flat_cosine", "constant", "step"] | Mapping[str, Any] = "cosine"
    """What follows the warm-up; ``schedule._target_`` names a user-defined schedule that replaces both: it takes the
    optimiser and steps after each of its steps."""
    flat: Annotated[float, "0..<1"] = 0.5
    """schedule=flat_cosine: share of the run at the peak, warm-up included, before the cosine (RTMDet, arXiv 2212.07784)."""
    warmup_epochs: Annotated[float, "0.."] = 1.0
    """Linear rise; never more than half of the run."""
    warmup_steps: Annotated[int, "0.."] | None = None
    """The same in optimiser steps; overrides warmup_epochs."""
    warmup_from: Annotated[float, "0..1"] = 0.1
    """Share of the peak at the first step."""
    final: Annotated[float, "0..1"] = 0.0
    """Share of the peak at which the cosine ends."""
    milestones: tuple[Annotated[float, "0..1"], ...] = (0.667, 0.833)
    """schedule=step: shares of the run after which the rate falls by `gamma`."""
    gamma: Annotated[float, "0..1"] = 0.1
    """schedule=step: factor by which the rate falls."""
    target: Mapping[str, Any] | None = None
    """``_target_`` of another optimiser with its arguments; it is given the groups with their rates and decays."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "betas", tuple(self.betas))
        object.__setattr__(self, "milestones", tuple(self.milestones))
        check_fields(self, "optimizer.", without=() if self.target is None else ("name",))
        if not isinstance(self.schedule, str) and not is_target(self.schedule):
            raise UserError(f"optimizer.schedule={dict(self.schedule)}: a user-defined schedule needs a {TARGET}")
        if self.name == "sgd" and self.nesterov and self.momentum == 0:
            raise UserError("optimizer.nesterov=true needs a momentum; optimizer.momentum=0 has none: set one of them")


@dataclass(frozen=True)
class EmaSettings:
    """Exponential moving average of the weights; validation and the saved ``state_dict`` are the average."""

    enabled: bool = True
    decay: Annotated[float, "0..<1"] = 0.9998
    """The paper's."""
    ramp: bool = True
    """The first steps use less: min(decay, (1 + n) / (10 + n)) at step n, so that the first weights are soon forgotten."""

    def __post_init__(self) -> None:
        check_fields(self, "ema.")


@dataclass(frozen=True)
class CheckpointSettings:
    """When ``last.ckpt`` is written. ``best.ckpt`` follows every evaluation that beats the ones before."""

    every_steps: Annotated[int, "1.."] | None = None
    """Also save last.ckpt every this many steps."""
    every_minutes: Annotated[float, "0.."] | None = 10.0
    """Also save last.ckpt after this many minutes, in mid-epoch too."""
    max_share: Annotated[float, "0..1"] = 0.05
    """Largest share of the run's time for saves at the ends of epochs: very short epochs are not all saved."""
    keep_previous: bool = True
    """Keep the ``last.ckpt`` before the last as ``last.ckpt.previous``, as a fallback for silent corruption."""

    def __post_init__(self) -> None:
        check_fields(self, "checkpoint.")


@dataclass(frozen=True)
class EarlyStoppingSettings:
    """Stop when the monitored metric has not risen for `patience` evaluations; None never stops."""

    patience: Annotated[int, "1.."] | None = None
    """Stop after this many evaluations without a better one; null never stops early."""
    min_delta: Annotated[float, "0.."] = 0.0
    """Smallest improvement that counts."""

    def __post_init__(self) -> None:
        check_fields(self, "early_stopping.")


@dataclass(frozen=True)
class NonFiniteSettings:
    """What happens to a step whose loss or gradient is not a finite number."""

    skip: bool = True
    """A step whose loss or gradient is not a finite number is skipped and its batch is kept."""
    patience: Annotated[int, "1.."] = 10
    """Stop with the reason after this many such steps in a row."""
    keep: Annotated[int, "0.."] = 3
    """Write at most this many of their batches."""

    def __post_init__(self) -> None:
        check_fields(self, "nonfinite.")


@dataclass(frozen=True)
class DistillationSettings:
    """What the model learns from a `teacher`."""

    features: Annotated[float, "0.."] = 4.0
    """Weight of the channel-wise divergence of the neck's maps, of every level that both have; 0 leaves them out."""
    logits: Annotated[float, "0.."] = 1.0
    """Weight of the loss of the heads' logits (detection: classes and boxes), for classes that both know by name; 0 leaves
    them out."""
    temperature: Annotated[float, "0<.."] = 4.0
    """Of the softmax over a map's positions, and over the classes of an image or pixel; higher compares more than the
    strongest."""

    def __post_init__(self) -> None:
        check_fields(self, "distillation.")


@dataclass(frozen=True)
class PseudoLabelSettings:
    """How the images of ``data.unlabelled`` are learnt from."""

    weight: Annotated[float, "0<.."] = 2.0
    """Weight of their losses, which are the heads' own kind with the averaged model's outputs as targets."""
    start: Annotated[float, "0..<1"] = 0.2
    """Share of the run that is trained without them, until the averaged model knows something."""
    ramp: Annotated[float, "0..1"] = 0.2
    """Share of the run over which the weight then rises from 0."""
    confidence: Annotated[float, "0..1"] = 0.8
    """Segmentation and classification: least probability of the best class, in a pixel or image, of what is learnt.
    Detection takes the highest scores of each image instead."""

    def __post_init__(self) -> None:
        check_fields(self, "pseudo_labels.")


@dataclass(frozen=True)
class FitSettings:
    """Everything :func:`effdet.training.fit` needs to know beside the model and the data."""

    run_dir: Path
    seed: int = 0
    batch_size: int | str = 8
    """Images in one batch of one process, or ``auto``."""
    batch_limit: int | None = None
    """Of ``batch_size=auto``; None for no limit."""
    optimizer: OptimizerSettings = field(default_factory=OptimizerSettings)
    ema: EmaSettings = field(default_factory=EmaSettings)
    checkpoint: CheckpointSettings = field(default_factory=CheckpointSettings)
    early_stopping: EarlyStoppingSettings = field(default_factory=EarlyStoppingSettings)
    nonfinite: NonFiniteSettings = field(default_factory=NonFiniteSettings)
    monitor: tuple[str, ...] = ()
    """Metric that decides ``best.ckpt``, or several whose mean does; none: the chief metrics of the model's heads."""
    monitor_mode: str | None = None
    """``max`` or ``min``; None: ``min`` for losses, ``max`` for all else."""
    freeze: tuple[str, ...] = ()
    """backbone, neck, heads, bn, a head's name, or a dotted module path such as backbone.stem."""
    compile: bool = False
    grad_checkpointing: bool = False
    channels_last: bool = True
    norm_momentum: float | None = None
    """Of every BatchNorm, share of the new batch; None: the fine-tuning rule (:mod:`effdet.training.batchnorm`)."""
    loggers: tuple[str, ...] = ("tensorboard",)
    """tensorboard, wandb, mlflow; ``metrics.csv`` is always written."""
    progress: bool = True
    trainer: Mapping[str, Any] = field(default_factory=dict)
    """Arguments of Lightning's Trainer (``conf/trainer/default.yaml``)."""

    def __post_init__(self) -> None:
        for name in ("freeze", "loggers", "monitor"):
            value = getattr(self, name) or ()
            object.__setattr__(self, name, (value,) if isinstance(value, str) else tuple(value))
        object.__setattr__(self, "run_dir", Path(self.run_dir))
        if self.monitor_mode not in (None, "max", "min"):
            raise UserError(f"monitor_mode={self.monitor_mode!r} is unknown; use one of max, min")
        if self.norm_momentum is not None and not 0 < self.norm_momentum <= 1:
            raise UserError(f"norm_momentum={self.norm_momentum} is a share, above 0 and up to 1, or null")
        if self.batch_size != "auto" and (not isinstance(self.batch_size, int) or self.batch_size < 1):
            raise UserError(f"batch_size={self.batch_size!r} must be 1 or more, or auto")
        if found := problems(self.trainer, patience=self.early_stopping.patience):
            raise UserError("; ".join(found))
        strategy = str(self.trainer.get("strategy"))
        if any(text in strategy.lower() for text in SHARDED):
            raise UserError(
                f"trainer.strategy={strategy} splits weights over devices, which is not supported: the moving average and "
                "the gradient's norm need them whole. The largest model takes some 8 GB with optimiser and average; what "
                "fills a device are activations: use trainer.strategy=ddp with grad_checkpointing=true, "
                "trainer.precision=bf16-mixed, or a smaller batch_size with trainer.accumulate_grad_batches"
            )
        precision = self.precision
        if precision not in PRECISIONS:
            raise UserError(
                f"trainer.precision={precision} is not supported: losses and box decoding run in float32; "
                f"use one of {', '.join(PRECISIONS)}"
            )

    @property
    def precision(self) -> str:
        aliases = {"None": "32-true", "32": "32-true", "bf16": "bf16-mixed", "16": "16-mixed"}
        text = str(self.trainer.get("precision"))
        return aliases.get(text, text)

    @property
    def max_steps(self) -> int | None:
        """Optimiser steps of the whole run; None for no limit."""
        steps = self.trainer.get("max_steps")
        return None if steps in (None, -1) else steps

    @property
    def max_seconds(self) -> float | None:
        """Time budget of the whole run; None for no limit."""
        return seconds_of(self.trainer.get("max_time"), "trainer.max_time")

    @classmethod
    def of(cls, config: Mapping[str, Any], run_dir: str | Path) -> Self:
        """From a resolved configuration; unknown keys are ignored.

        `ema` may be a mapping, true, false or a decay; `logger` a name, a list of names or null.
        """
        parts = {
            "checkpoint": CheckpointSettings,
            "early_stopping": EarlyStoppingSettings,
            "nonfinite": NonFiniteSettings,
        }
        values: dict[str, Any] = {
            "run_dir": run_dir,
            "ema": _ema(config.get("ema", True), ramp=config.get("ema_ramp", True)),
        }
        for name, kind in parts.items():
            values[name] = build(kind, config.get(name) or {}, what=name, error=UserError)
        values["optimizer"] = _optimizer(config.get("optimizer") or {})
        plain = {item.name for item in fields(cls)} - values.keys() - {"loggers"}
        values |= {name: config[name] for name in plain if config.get(name) is not None}
        logger = config.get("logger", config.get("loggers", "tensorboard"))
        values["loggers"] = () if logger in (None, False) else logger
        return cls(**values)


def _optimizer(values: Mapping[str, Any]) -> OptimizerSettings:
    """Beside a ``_target_``, what doesn't concern rates, decay and schedule is the target's."""
    if TARGET not in values:
        return build(OptimizerSettings, values, what="optimizer", error=UserError)
    ours = {item.name for item in fields(OptimizerSettings)} - {"momentum", "nesterov", "betas", "target"}
    target = {key: value for key, value in values.items() if key not in ours}
    return OptimizerSettings(**{key: value for key, value in values.items() if key in ours}, target=target)


def _ema(value: Any, *, ramp: bool) -> EmaSettings:
    if isinstance(value, Mapping):
        return build(EmaSettings, value, what="ema", error=UserError)
    if isinstance(value, bool) or value is None:
        return EmaSettings(enabled=bool(value), ramp=ramp)
    return EmaSettings(decay=float(value), ramp=ramp)


def as_plain(settings: Any) -> dict[str, Any]:
    """A settings dataclass as plain values that a checkpoint can hold; no `target`, as in older ones, where there is none."""
    values = {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(settings).items()}
    unused = {"target": None, "ramp": True} | (
        {} if values.get("schedule") == "flat_cosine" else {"flat": values.get("flat")}
    )
    return {key: value for key, value in values.items() if key not in unused or value != unused[key]}
