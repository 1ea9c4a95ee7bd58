"""One function that puts the trainer together and runs it."""

from __future__ import annotations

import json
import logging
import platform
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any

from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only
from torch import nn

from effdet.plugins import accepts, check, instantiate, is_target
from effdet.training.callbacks.evaluation import (
    DrawBatch,
    DrawPredictions,
    EvaluateBetweenSteps,
    Images,
    LastEvaluation,
    StartEvaluation,
)
from effdet.training.callbacks.metrics import AttachLosses, ExtraLog, MetricLog, ProgressDisplay
from effdet.training.callbacks.nonfinite import FiniteGuard
from effdet.training.callbacks.saver import AtomicCheckpointIO, CheckpointSaver, Interrupts
from effdet.training.ema import Ema
from effdet.training.ending import EarlyStopping, RunLimits, ended
from effdet.training.errors import memory_advice, out_of_memory
from effdet.training.extra_losses import ExtraLoss
from effdet.training.image_grids import draw_training_batch
from effdet.training.loader import LoaderFactory
from effdet.training.loggers import CsvLogger, make_loggers
from effdet.training.module import Evaluate, VisionModule
from effdet.training.monitor import monitor_mode, monitor_name, monitored
from effdet.training.optimizers import check_own_schedule
from effdet.training.resume import FACTS, check_same, open_resume, run_facts
from effdet.training.resume_point import ResumePoint
from effdet.training.settings import FitSettings, as_plain
from effdet.training.trainer_arguments import for_lightning, refused
from heads.structures import UserError

FORMAT = 1
"""Version of the checkpoint's layout."""
_NOISE = (
    "does not have many workers",
    "Grad strides do not match bucket view strides",  # of 1x1 convolutions, whose strides can be reported in two ways
    r"recommended to use `self\.log\(.*sync_dist=True",
    "in eval mode at the start of training",
    "is smaller than the logging interval",
    r"Detected call of `lr_scheduler\.step\(\)` before",  # fp16's scaler has skipped the first step
    r"isinstance\(treespec, LeafSpec\)",
)
_EPOCH_LIMITS = {"limit_train_batches": 1.0, "overfit_batches": 0}
"""The trainer's arguments that say how many batches an epoch has, and what they are by default."""
_OURS = ("logger", "callbacks", "plugins", "max_steps", "max_time", "enable_progress_bar", "default_root_dir")


@dataclass(frozen=True)
class FitResult:
    """How a run ended."""

    metrics: dict[str, Any]
    """Of the last evaluation; empty without one."""
    start_score: float | None
    """The monitored metric of the starting weights; None where they were not evaluated."""
    monitor: str | None
    """Its name."""
    best_score: float | None
    best_path: Path | None
    last_path: Path | None
    steps: int
    epochs: int
    seconds: float
    reason: str
    """``finished``, ``early stopping``, ``time`` or ``steps``."""
    skipped: int = 0
    """Steps that were not finite."""


def fit(
    model: nn.Module,
    train_batches: LoaderFactory,
    *,
    settings: FitSettings,
    evaluate: Evaluate | None = None,
    resume: str | Path | None = None,
    data: Any = None,
    record: Mapping[str, Any] | None = None,
    draw_batch: DrawBatch | None = draw_training_batch,
    draw_predictions: DrawPredictions | None = None,
    callbacks: Sequence[Callback] = (),
    extra: Sequence[ExtraLoss] = (),
    at_start: bool = False,
    ready: Callable[[], object] | None = None,
) -> FitResult:
    """Train `model` in place; afterwards it holds the averaged weights.

    Args:
        train_batches: ``train_batches(batch_size=, rank=, world=)`` gives the training loader of one process: batches of
            uint8 images, with a length and ``set_epoch(epoch, start_batch=0)``.
        evaluate: evaluates the model it is given, in place; gives metrics by name.
        resume: a checkpoint of this run to go on from (:func:`effdet.training.newest_valid` finds it).
        data: fingerprint of the training data: any plain value. A resume on other data is refused.
        record: plain values that go into each checkpoint: ``config`` (YAML text), ``weights``, …; on a resume, what is
            None here is taken over from the checkpoint.
        draw_batch: draws the first augmented batch: ``draw_batch(batch, model, path)``; None draws none.
        draw_predictions: draws predictions after each evaluation, ``draw_predictions(model, path)``; such as
            :class:`effdet.training.image_grids.PredictionGrid`.
        extra: losses beside the heads', whose weights are trained with the model and saved beside it.
        at_start: evaluate the weights before the first step too, unless the run is resumed.
        ready: called once all is known to fit, before the first step and before other processes are started; what the caller
            writes of the run belongs here, since a resume that is refused must leave the run as it was.

    Raises:
        UserError: the memory is too small, the disk is full, the run to resume is another one, and the like.
        Interrupted: SIGTERM or Ctrl-C; the state is saved, and `exit_code` is 143 or 130.
    """
    started = time.monotonic()
    run_dir = settings.run_dir
    arguments = dict(settings.trainer)
    checkpoint = open_resume(resume) if resume is not None else None
    interrupts = Interrupts()
    interrupts.advice = f"to go on, give the same overrides with run_dir={run_dir} resume=auto"
    progress = ProgressDisplay() if settings.progress and arguments.get("enable_progress_bar") is not False else None
    loggers = [] if arguments.get("logger") is False else make_loggers(settings.loggers, run_dir)
    loggers += _objects(arguments, "logger", Logger, save_dir=str(run_dir))
    deciding = monitored(settings.monitor, model) if evaluate is not None else ()
    monitor = monitor_name(deciding) if deciding else None
    mode = settings.monitor_mode or monitor_mode(deciding)
    saver = CheckpointSaver(run_dir / "checkpoints", settings.checkpoint, interrupts, monitor=monitor, mode=mode)
    guard = FiniteGuard(settings.nonfinite, run_dir / "nonfinite", warn=_say) if settings.nonfinite.skip else None
    ema = Ema(settings.ema) if settings.ema.enabled else None
    limits = RunLimits(steps=settings.max_steps, seconds=settings.max_seconds)
    early = _early_stopping(settings, monitor, mode)
    start = StartEvaluation(monitor, _say, enabled=at_start and evaluate is not None)
    ours: list[Callback | None] = [
        interrupts,
        guard,
        Images(run_dir, batch=draw_batch, predictions=draw_predictions),
        ema,
        start,
        AttachLosses(None if ema is None else lambda: ema.model),
        MetricLog(*([progress.listen] if progress else [])),
        ExtraLog(),
        progress,
        limits,
        early,
        LastEvaluation(),
        EvaluateBetweenSteps(),
        *callbacks,
        *_objects(arguments, "callbacks", Callback),
        saver if arguments.get("enable_checkpointing") is not False and not arguments.get("fast_dev_run") else None,
    ]
    with _quiet_lightning(), interrupts:
        if evaluate is None:
            arguments["limit_val_batches"] = 0
        trainer = _trainer(
            arguments,
            logger=loggers or False,
            callbacks=[callback for callback in ours if callback is not None],
            plugins=[
                *_listed(arguments.get("plugins")),
                AtomicCheckpointIO(keep_previous=settings.checkpoint.keep_previous),
            ],
            default_root_dir=run_dir,
        )
        if evaluate is not None:
            trainer.limit_val_batches = 1.0  # overfit_batches and fast_dev_run set it to theirs
        if arguments.get("sync_batchnorm") and trainer.world_size > 1 and trainer.strategy.root_device.type == "cpu":
            raise UserError(
                "sync_bn=true needs GPUs: PyTorch's SyncBatchNorm refuses the CPU; use freeze=bn, or leave it out"
            )
        if settings.batch_size == "auto" and checkpoint is not None:
            settings = replace(settings, batch_size=int(checkpoint[FACTS]["batch_size"]))
        module = VisionModule(
            model, settings, train_batches=train_batches, evaluate=evaluate, monitor=deciding, extra=extra
        )
        module.inspect = guard.inspect if guard is not None else None
        module.record = _record(model, settings, trainer, data, record or {}, deciding)
        if checkpoint is not None:
            check_same(checkpoint[FACTS], module.record[FACTS], str(resume))
            if (end := ended(checkpoint, settings)) is not None:
                # Its averaged weights are put into `model`, and nothing is written.
                model.load_state_dict(checkpoint["state_dict"])
                return _result(
                    saver,
                    started,
                    metrics=end.metrics,
                    start_score=checkpoint["callbacks"].get(StartEvaluation.__name__, {}).get("score"),
                    best_score=end.best_score,
                    steps=end.steps,
                    epochs=end.epochs,
                    reason=end.reason,
                )
            for name, value in (record or {}).items():
                if value is None:  # such as the weights that it all began with
                    module.record[name] = checkpoint.get(name)
        for logger in loggers:
            if not isinstance(logger, CsvLogger):
                continue
            if checkpoint is None:  # an attempt that ended before its first checkpoint: its rows are written again
                logger.clear()
            else:
                place = ResumePoint.from_dict(checkpoint["resume_point"])
                logger.cut(checkpoint["global_step"], evaluated=place.evaluated or place.batch == 0)
        del checkpoint
        module.train()
        if ready is not None:
            ready()
        try:
            trainer.fit(module, ckpt_path=None if resume is None else str(resume))
        except BaseException as error:
            if out_of_memory(error):
                size: Any = model.preprocess.size  # type: ignore[union-attr]
                raise memory_advice(
                    module.real_batch_size, size, settings.precision, settings.grad_checkpointing
                ) from None
            if interrupts.received is not None and isinstance(
                error, RuntimeError
            ):  # the loader's workers got the signal too
                raise interrupts.leave(f"after step {trainer.global_step}") from error
            raise
        finally:
            module.close()
    reached = limits.reached(trainer) if trainer.should_stop else None
    return _result(
        saver,
        started,
        metrics=module.metrics,
        start_score=start.score,
        best_score=saver.best_score,
        steps=trainer.global_step,
        epochs=trainer.current_epoch,
        skipped=guard.skipped if guard is not None else 0,
        reason="early stopping" if early is not None and early.stopped else reached or "finished",
    )


def check_trainer(settings: FitSettings) -> None:
    """Refuse, before any work, what Lightning's Trainer cannot be made with.

    Raises:
        UserError: a line for each argument.
    """
    with _quiet_lightning():
        _trainer(dict(settings.trainer), logger=False, plugins=_listed(settings.trainer.get("plugins")))
    # What the user named by `_target_` is imported, and compared with the arguments given.
    optimizer = settings.optimizer
    if optimizer.target is not None:
        check(optimizer.target, "params", **({"lr": optimizer.lr} if accepts(optimizer.target, "lr") else {}))
    if isinstance(optimizer.schedule, Mapping):
        check_own_schedule(optimizer.schedule)
    for part in (*_listed(settings.trainer.get("callbacks")), *_listed(settings.trainer.get("logger"))):
        if is_target(part):
            check(part, **({"save_dir": ""} if accepts(part, "save_dir") else {}))


def _objects(arguments: Mapping[str, Any], name: str, kind: type, **defaults: Any) -> list[Any]:
    """Lightning's objects that the trainer's argument `name` gives or names by ``_target_``, with `defaults` where they fit."""
    found = []
    for part in _listed(arguments.get(name)):
        if isinstance(part, bool):
            continue
        if is_target(part):
            part = instantiate(part, **{key: value for key, value in defaults.items() if accepts(part, key)})
        if not isinstance(part, kind):
            raise UserError(f"trainer.{name}: {type(part).__name__} is not one of Lightning's {kind.__name__}s")
        found.append(part)
    return found


def _trainer(arguments: Mapping[str, Any], **ours: Any) -> Trainer:
    """Lightning's Trainer; what its constructor says against `arguments` becomes one line."""
    values = {name: value for name, value in for_lightning(arguments).items() if name not in _OURS}
    try:
        return Trainer(**values, enable_progress_bar=False, **ours)
    except (MisconfigurationException, ValueError, TypeError, RuntimeError, ImportError, AttributeError) as error:
        raise refused(arguments, error) from error


def _early_stopping(settings: FitSettings, monitor: str | None, mode: str) -> EarlyStopping | None:
    early = settings.early_stopping
    if monitor is None:
        if early.patience is not None:
            raise UserError(f"early_stopping.patience={early.patience} needs an evaluation; this run has none")
        return None
    return EarlyStopping(
        monitor,
        patience=early.patience,
        min_delta=early.min_delta,
        mode=mode,
        min_epochs=settings.trainer.get("min_epochs"),
        min_steps=settings.trainer.get("min_steps"),
    )


def _result(saver: CheckpointSaver, started: float, **found: Any) -> FitResult:
    """`found`, with the monitor's name, the checkpoints that are there and the time since `started`."""
    best, last = (path if path.exists() else None for path in (saver.best_path, saver.last_path))
    seconds = time.monotonic() - started
    return FitResult(monitor=saver.monitor, best_path=best, last_path=last, seconds=seconds, **found)


def _record(
    model: nn.Module,
    settings: FitSettings,
    trainer: Trainer,
    data: Any,
    record: Mapping[str, Any],
    monitor: Sequence[str],
) -> dict[str, Any]:
    """What decides a result, for the checkpoint."""
    spec: dict[str, Any] = model.spec.to_dict()  # type: ignore[union-attr,operator]
    facts = run_facts(
        spec=spec,
        data=data,
        seed=settings.seed,
        batch_size=settings.batch_size,
        accumulate=trainer.accumulate_grad_batches,
        processes=trainer.num_devices * trainer.num_nodes,
        optimizer=as_plain(settings.optimizer),
        ema=as_plain(settings.ema),
        freeze=settings.freeze,
        monitor=monitor,
        limits={name: settings.trainer.get(name, usual) for name, usual in _EPOCH_LIMITS.items()},
    )
    names = ("effdet-lightning", "torch", "torchvision", "lightning", "numpy", "albumentations")
    versions = {"python": platform.python_version()} | {name: _version(name) for name in names}
    return {
        "format": FORMAT,
        "spec": json.dumps(spec),
        "classes": spec.get("classes"),
        "data": data,
        "seed": settings.seed,
        "versions": versions,
        FACTS: facts,
        **record,
    }


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _listed(value: Any) -> list[Any]:
    return [] if value is None else list(value) if isinstance(value, (list, tuple)) else [value]


def _say(text: str) -> None:
    if rank_zero_only.rank == 0:
        print(text, flush=True)


@contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Without Lightning's banners and its advice about loaders that it doesn't know."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.WARNING)
        with warnings.catch_warnings():
            for text in _NOISE:
                warnings.filterwarnings("ignore", f".*{text}.*")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
