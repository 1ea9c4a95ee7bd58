"""Images without labels in a training: what is checked of them before the first step, and the loss that they give."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import nn

from effdet.cli.config import Config
from effdet.cli.data import unlabelled_images
from effdet.cli.run import is_first
from effdet.data import AugmentSpec, DataError, Dataset, EvalSet, TrainLoader
from effdet.data.images import OnError
from effdet.data.preflight import cut_off, report, without_undecodable
from effdet.data.unlabelled import UnlabelledSet, listed, open_unlabelled, shared_images
from effdet.model import VisionModel
from effdet.report.training import PSEUDO_GRID
from effdet.training import FitSettings
from effdet.training.callbacks.evaluation import DrawPredictions
from effdet.training.image_grids import PredictionGrid
from effdet.training.settings import PseudoLabelSettings
from effdet.training.unlabelled import UnlabelledLoss
from heads.structures import UserError


def check_unlabelled(config: Config, settings: FitSettings) -> None:
    """Refuse what could not be learnt, and settings that nothing reads.

    Raises:
        UserError: one line.
    """
    name, chosen = config.get("data.unlabelled"), pseudo_label_settings(config)
    if name is None:
        for key, usual in asdict(PseudoLabelSettings()).items():
            if (value := getattr(chosen, key)) != usual:
                raise UserError(
                    f"pseudo_labels.{key}={value:g} has no effect without images: give data.unlabelled=DIR too"
                )
        if (ratio := config.get("data.unlabelled_ratio", 1.0)) != 1.0:
            raise UserError(
                f"data.unlabelled_ratio={ratio:g} has no effect without images: give data.unlabelled=DIR too"
            )
        return
    if not settings.ema.enabled:
        raise UserError(f"data.unlabelled={name}: its labels come from the averaged weights, and ema=false has none")
    if settings.trainer.get("max_epochs") in (None, -1) and settings.max_steps is None:
        raise UserError(
            f"data.unlabelled={name}: pseudo_labels.start is a share of the run, which has no known end; set "
            "trainer.max_epochs or trainer.max_steps"
        )


def pseudo_label_settings(config: Config) -> PseudoLabelSettings:
    """The section ``pseudo_labels``; a configuration that is older than it has the defaults."""
    return PseudoLabelSettings(**(config.get("pseudo_labels") or {}))


def open_unlabelled_set(config: Config, *, val: Dataset | None) -> Dataset | None:
    """The images of ``data.unlabelled``, if it names any.

    Args:
        val: none of its images may be among them; None where that has been looked at.

    Raises:
        DataError: images that can't be read, all named, or images of `val`.
    """
    name = config.get("data.unlabelled")
    if name is None:
        return None
    paths = unlabelled_images(config)
    on_error: OnError = config.get("data.unreadable", "error")
    found = open_unlabelled(paths, name=name, on_error=on_error)
    if broken := cut_off(found):
        line = report(found, broken, on_error, becomes="they are left out")
        if on_error == "error":
            raise DataError(line)
        if is_first():
            print(f"warning: {line}")
        found = without_undecodable(found, broken)
    if is_first():
        for line in found.warnings:
            print(f"warning: unlabelled: {line}")
    if val is not None and (shared := shared_images(found, val)):
        raise DataError(
            f"data.unlabelled={name}: {len(shared)} of its {len(found)} images are images of val, which a training must not "
            f"see: {listed(shared)}; remove them, or name the others in a list"
        )
    return found


def unlabelled_loss(
    config: Config, unlabelled: Dataset, model: VisionModel, workers: int, *, cuda: bool
) -> UnlabelledLoss:
    """The loss of the images `unlabelled`.

    Raises:
        UserError: no head of `model` can learn from them.
    """
    views = UnlabelledSet(
        unlabelled,
        model.preprocess,
        augment=AugmentSpec(**config.get("augment")),
        seed=config.seed,
        on_error=config.get("data.unreadable", "error"),
    )

    def build(*, batch_size: int, rank: int, world: int) -> TrainLoader:
        return TrainLoader(views, batch_size, workers=workers, rank=rank, world=world, pin_memory=cuda)

    return UnlabelledLoss(
        model,
        build,
        pseudo_label_settings(config),
        ratio=config.get("data.unlabelled_ratio", 1.0),
        images=len(unlabelled),
        name=unlabelled.name,
        fingerprint=unlabelled.fingerprint(),
    )


def drawings(dataset: EvalSet, unlabelled: Dataset | None, model: VisionModel) -> DrawPredictions:
    """Draws predictions on `dataset`, and beside that file what the averaged model says of images of `unlabelled`."""
    val = PredictionGrid(dataset)
    if unlabelled is None:
        return val
    others = PredictionGrid(EvalSet(unlabelled, model.preprocess))

    def draw(averaged: nn.Module, path: Path) -> Any:
        others(averaged, path.with_name(PSEUDO_GRID))
        return val(averaged, path)

    return draw
