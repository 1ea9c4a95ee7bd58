"""The recipe of a training: optimiser, schedule, batch, averages, frozen parts and augmentation, by task, weights, images and
budget.

:func:`choose` gives a value for every key that may be ``auto``, with the reason. ``recipe=auto`` is for what most users have:
a hundred to some thousand images, and minutes to hours of training. ``recipe=paper`` gives the published values: SGD, a cosine
and an average over 5,000 steps, which are for the hundreds of epochs of the papers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

from effdet.plurals import counted

PRESETS = ("optimizer", "augment")
"""Groups of which a recipe names a file; what it says of single keys goes before the file's values."""


@dataclass(frozen=True)
class Facts:
    """What a recipe depends on."""

    task: Literal["detection", "segmentation", "classification"] = "detection"
    """What the heads are trained for; driving counts as detection, embedding as classification."""
    images: int = 1_000
    """Of the training set."""
    weights: Literal["none", "backbone", "model"] = "none"
    """What the initial weights have filled."""
    known: bool = False
    """Some of the classes came with the weights; of a model with a detection head, of the detector's."""
    new: bool = True
    """Some did not."""
    batch_size: int | None = None
    """Images of a batch on each process, where the user has set it."""
    batches: int = 1
    """Batches of an optimiser step: processes times ``trainer.accumulate_grad_batches``."""
    epochs: int | None = None
    """Where the user has set them; -1 for no limit."""
    steps: int | None = None
    """Optimiser steps after which the run ends at the latest, where the user has set them."""
    usual_epochs: int | None = None
    """``default_epochs`` of the data set."""
    external: bool = False
    """The backbone is of another library."""
    named: bool = False
    """The model is one of its own name or file, whose anchors stay as they are."""


@dataclass(frozen=True)
class Choice:
    """The value of a key, and the reason as one clause."""

    value: Any
    reason: str


Recipe = dict[str, Choice]
"""By dotted key; ``optimizer`` and ``augment`` name files of ``conf``."""


def choose(name: str, facts: Facts) -> Recipe:
    """The recipe `name`, ``auto`` or ``paper``, for `facts`."""
    return paper(facts) if name == "paper" else auto(facts)


def paper(facts: Facts) -> Recipe:
    """The published values (EfficientDet section 5.1, EfficientNet section 5.2) and this project's first augmentation."""
    whole = facts.task == "classification"
    reason = "the papers'"
    return {
        "optimizer": Choice("sgd", reason),
        "trainer.max_epochs": Choice(
            facts.usual_epochs or 50, "the data set's" if facts.usual_epochs else "usual here"
        ),
        "batch_limit": Choice(None, "as many as fit"),
        "ema": Choice(0.9998, reason),
        "ema_ramp": Choice(True, "forgets the first weights"),
        "freeze": Choice(None, "nothing"),
        "data.repeat_threshold": Choice(None, "each image once an epoch"),
        "augment": Choice("flip_crop" if whole else "default", "crops of whole images" if whole else "scale jitter"),
    }


def auto(facts: Facts) -> Recipe:
    """Values for the set and the budget at hand; docs/training.md has the measurements behind them."""
    size, why_size = _batch(facts)
    epoch = max(math.ceil(facts.images / (size * facts.batches)), 1)
    epochs, why_epochs = _epochs(facts, epoch)
    steps = min(_or(facts.steps), epoch * epochs) if epochs > 0 else _or(facts.steps)
    steps = STEPS[facts.task] if math.isinf(steps) else int(steps)
    return {
        "batch_limit": Choice(size, why_size),
        "trainer.max_epochs": Choice(epochs, why_epochs),
        **_optimizer(facts, size * facts.batches, steps),
        "ema": _average(facts, steps),
        "ema_ramp": Choice(
            not facts.known, "the starting weights detect" if facts.known else "forgets the first weights"
        ),
        **_augment(facts, epochs),
        **_heads(facts, steps),
        **_regularised(facts, steps),
    }


def _or(number: int | None) -> float:
    return math.inf if number is None else number


STEPS = {"detection": 5_000, "segmentation": 3_000, "classification": 5_000}
"""Steps after which a small set has been learnt from, from the weights of a backbone."""
KNOWN_STEPS = 1_500
"""The same from the weights of a detector or segmenter."""
KNOWN_TRAVEL = 0.01
"""Rate times steps for weights that know all classes of 200 images or fewer, more with more images: three times
as much ends below the start on COCO's sample."""
LEAST_EPOCHS, MOST_EPOCHS = 30, 200
BATCHES = {"detection": (4, 16), "segmentation": (2, 16), "classification": (8, 64)}
"""Smallest and largest batch by task."""
USUAL_RATES = {"detection": (4, 1e-3), "segmentation": (2, 1.5e-3), "classification": (32, 1e-3)}
"""Images of a step, and AdamW's rate that was measured for them."""
EPOCH_STEPS = {"detection": 50, "segmentation": 150, "classification": 50}
"""A batch is chosen so that an epoch has about as many steps: of few images, many small steps teach more than few large."""


def _batch(facts: Facts) -> tuple[int, str]:
    if facts.batch_size is not None:
        return facts.batch_size, "as set"
    least, most = BATCHES[facts.task]
    fitting = facts.images / (EPOCH_STEPS[facts.task] * facts.batches)
    size = min(max(2 ** int(math.log2(max(fitting, 1))), least), most)
    return size, _epoch_reason(facts, size)


def _epoch_reason(facts: Facts, size: int) -> str:
    steps = math.ceil(facts.images / (size * facts.batches))
    return f"{counted(facts.images, 'image', ',')}, {counted(steps, 'step', ',')} an epoch"


def _epochs(facts: Facts, epoch: int) -> tuple[int, str]:
    if facts.epochs is not None:
        return facts.epochs, "as set"
    if facts.usual_epochs:
        return facts.usual_epochs, "the data set's own number"
    wanted = KNOWN_STEPS if facts.weights == "model" else STEPS[facts.task]
    epochs = min(max(math.ceil(wanted / epoch), LEAST_EPOCHS), MOST_EPOCHS)
    return epochs, counted(epochs * epoch, "step", ",")


def _optimizer(facts: Facts, step_images: int, steps: int) -> Recipe:
    choices = {
        "optimizer": Choice("adamw", "little depends on its rate"),
        "optimizer.base_batch_size": Choice(None, "the rate below is for this batch"),
        "optimizer.weight_decay": Choice(0.02, "as measured for AdamW on small sets"),
        "optimizer.warmup_steps": Choice(
            min(max(steps // 20, 10), 1_000), f"a twentieth of {counted(steps, 'step', ',')}, 10 at least"
        ),
        "freeze": Choice(None, "nothing"),
        "optimizer.backbone_lr_scale": Choice(1.0, "the backbone learns like the rest"),
    }
    usual, base = USUAL_RATES[facts.task]
    rate = base * min(max((step_images / usual) ** 0.5, 0.5), 2.0)  # Malladi et al. 2022 (arXiv 2205.10287)
    choices["optimizer.lr"] = Choice(float(f"{rate:.2g}"), f"AdamW's for {counted(step_images, 'image')} a step")
    choices["optimizer.schedule"] = _schedule(facts)
    if facts.weights == "model":
        choices["optimizer.lr"] = (
            Choice(1e-4, "the weights know some of the classes")
            if facts.known
            else Choice(3e-4, "all classes are new to the weights")
        )
        if not facts.new:
            # AdamW moves every weight by about the rate a step, whether the gradient is signal or noise.
            rate = min(KNOWN_TRAVEL * max(facts.images / 200, 1) / steps, 1e-4)
            choices["optimizer.lr"] = Choice(float(f"{rate:.1g}"), "the weights know all classes, and are left slowly")
        choices["optimizer.backbone_lr_scale"] = Choice(0.1, "the weights are a whole model's")
        choices["freeze"] = Choice(["bn"], "its statistics are of more images than these")
    return choices


def _schedule(facts: Facts) -> Choice:
    if facts.epochs == -1 and facts.steps is None:
        return Choice("constant", "the number of steps is not known")
    if facts.task == "segmentation":
        return Choice("flat_cosine", "half of the run at the full rate")
    return Choice("cosine", "ends where the run does")


def _average(facts: Facts, steps: int) -> Choice:
    share = 5 if facts.known else 20  # weights that detect are left slowly
    horizon = min(max(steps / share, 10), 5_000)
    return Choice(round(1 - 1 / horizon, 4), f"an average over {counted(round(horizon), 'step', ',')}")


def _augment(facts: Facts, epochs: int) -> Recipe:
    if facts.weights == "model":
        return {"augment": Choice("light", "the weights have seen such images")}
    if 0 < epochs < LEAST_EPOCHS:
        return {"augment": Choice("light", counted(epochs, "epoch"))}
    if facts.task == "classification":
        return {"augment": Choice("flip_crop", f"{epochs} epochs of whole images")}
    return {
        "augment": Choice("default", f"{epochs} epochs"),
        "augment.mosaic_off_epochs": Choice(max(epochs // 10, 1), "the last tenth of the run"),
    }


HARD_TARGETS = {"loss.matcher": "atss", "loss.box": "giou"}
"""Of a detection head: ATSS (arXiv 1912.02424) with the focal loss, and GIoU."""
SOFT_TARGETS = {
    "loss.matcher": "atss_tal",
    "loss.tal_smallest": 16.0,
    "loss.classes": "quality",
    "loss.box": "giou",
    "loss.box_by_score": True,
    "loss.normalizer": "score",
}
"""Assignment by ATSS, then by what fits best, with soft targets (arXiv 2006.04388, 2108.07755)."""
SOFT_STEPS = 1_000
"""Soft targets are the IoU of predicted boxes. A new box net predicts poor ones: below so many steps, hard targets teach it
faster."""
ONE_ANCHOR = {"anchors.scales_per_octave": 1, "anchors.aspects": [1.0]}


def _heads(facts: Facts, steps: int) -> Recipe:
    """What heads are trained on; null in ``conf/head`` leaves it to the recipe."""
    if facts.task == "segmentation":
        return {
            "head.semantic.loss.class_weights": Choice("sqrt", "rare classes count as much in the mean IoU"),
            "head.semantic.loss.lovasz": Choice(0.5, "follows the mean IoU itself"),
        }
    if facts.task != "detection" or facts.known:
        return {}  # rows that know their classes go on with the loss that they were trained by
    trained = facts.weights == "model"
    targets, reason = (
        SOFT_TARGETS,
        "the box net is trained" if trained else f"soft targets, for {counted(steps, 'step', ',')}",
    )
    if not trained and steps < SOFT_STEPS:
        targets, reason = HARD_TARGETS, f"hard targets, for {counted(steps, 'step', ',')}"
    found = {f"head.detection.{key}": Choice(value, reason) for key, value in targets.items()}
    if not trained and not facts.named:
        found |= {f"head.detection.{key}": Choice(value, "enough for ATSS") for key, value in ONE_ANCHOR.items()}
    return found


def _regularised(facts: Facts, steps: int) -> Recipe:
    """Stochastic depth is for long runs: on CamVid's 8 epochs it costs, and what an epoch teaches is not yet too much."""
    if facts.task != "segmentation" or facts.external or steps >= STEPS["segmentation"]:
        return {}
    return {"backbone.drop_path": Choice(0.0, f"none for {counted(steps, 'step', ',')}")}
