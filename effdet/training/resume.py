"""What may differ when a run is resumed: the rule of every key, the facts of a run, and the error that lists what differs.

The command line compares what the user asks for with the configuration of the run, before any work; :func:`fit` compares the
facts of both, which hold what only a run knows: the data as it is, the batch size that was found, the number of processes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any

from heads.errors import UserError

FACTS = "facts"
_SHOWN = 12
OTHER_VALUES = "the run to resume has other values; leave these out, or start a new run from its weights by weights={}:"


class Rule(Enum):
    """What becomes of an override whose value is not that of the run to resume."""

    COUNTS = "counts from the resume on"
    FIXED = "is refused: every step depends on it"
    COMPARED = "is compared with what the run really used, once that is known: equal, or refused"
    IDLE = "concerns the start of a new run, or nothing"


RULES: dict[str, Rule] = {
    # what is trained on what
    **dict.fromkeys(("task", "data", "backbone", "neck", "head", "model", "phi", "architecture"), Rule.FIXED),
    **dict.fromkeys(("image_size", "preprocess", "max_images", "weights", "conventions"), Rule.FIXED),
    **dict.fromkeys(("teacher", "distillation", "pseudo_labels"), Rule.FIXED),
    "data.unreadable": Rule.COUNTS,  # the way out of a run that an image has stopped
    # how each step is made
    **dict.fromkeys(
        ("seed", "optimizer", "ema", "ema_ramp", "augment", "freeze_epochs", "progressive", "freeze"), Rule.FIXED
    ),
    "trainer.accumulate_grad_batches": Rule.FIXED,
    "trainer.limit_train_batches": Rule.FIXED,
    "trainer.overfit_batches": Rule.FIXED,
    "trainer.fast_dev_run": Rule.FIXED,
    **dict.fromkeys(("batch_size", "cpu_processes", "trainer.devices", "trainer.num_nodes"), Rule.COMPARED),
    # what a run may do otherwise from some step on: callbacks and Lightning take these only from the configuration
    **dict.fromkeys(("norm_momentum", "sync_bn", "grad_checkpointing", "compile", "channels_last"), Rule.COUNTS),
    **dict.fromkeys(("early_stopping", "checkpoint", "nonfinite", "evaluation", "trainer"), Rule.COUNTS),
    **dict.fromkeys(("score_threshold", "nms_iou", "max_detections"), Rule.COUNTS),
    **dict.fromkeys(("workers", "device", "logger", "progress", "report"), Rule.COUNTS),
    # what is over once a run has begun, and what has no effect in any training
    **dict.fromkeys(
        ("run_dir", "resume", "overwrite", "preflight", "strict", "trust", "recipe", "batch_limit"), Rule.IDLE
    ),
    "trainer.limit_test_batches": Rule.IDLE,
    "trainer.limit_predict_batches": Rule.IDLE,
    "trainer.use_distributed_sampler": Rule.IDLE,
    "trainer.default_root_dir": Rule.IDLE,
    "trainer.enable_autolog_hparams": Rule.IDLE,
    "trainer.model_registry": Rule.IDLE,
}
"""By key or by section; the longest that fits a key holds."""


def rule(key: str) -> Rule:
    """What becomes of another value of `key` at a resume; of one that no rule names, that it is refused."""
    parts = key.split(".")
    names = (".".join(parts[:length]) for length in range(len(parts), 0, -1))
    return next((RULES[name] for name in names if name in RULES), Rule.FIXED)


def run_facts(
    *,
    spec: Mapping[str, Any],
    data: Any,
    seed: int,
    batch_size: int | str,
    accumulate: int,
    processes: int,
    optimizer: Mapping[str, Any],
    ema: Mapping[str, Any],
    freeze: Sequence[str] = (),
    monitor: Sequence[str] = (),
    limits: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """What must be equal when a run is resumed, as plain values: each of these changes every step that follows.

    All else counts from the resume on, as the settings say it: precision, clipping, the momentum of norms, limits, patience.

    Args:
        spec: of the model. How predictions are made of its outputs is no part of training, and not compared.
        data: fingerprint of the data and its augmentation.
        seed: of every random choice.
        batch_size: images of a batch on each process.
        accumulate: batches of an optimiser step.
        processes: that share a step.
        optimizer: its settings, the schedule's among them.
        ema: settings of the average.
        freeze: parts that do not learn; they are not in the optimiser's state.
        monitor: metrics that decide the best.
        limits: of the batches in an epoch, by the trainer's argument.
    """
    facts = {
        "model": _trained(spec),
        "data": data,
        "seed": seed,
        "batch_size": batch_size,
        "trainer.accumulate_grad_batches": accumulate,
        "processes": processes,
        "optimizer": optimizer,
        "ema": ema,
        "freeze": sorted(freeze),
        "monitor": list(monitor),
        **{f"trainer.{name}": value for name, value in (limits or {}).items()},
    }
    return json.loads(json.dumps(facts, default=str))  # lists for tuples, as a file gives them back


def _trained(spec: Mapping[str, Any]) -> dict[str, Any]:
    """`spec` without the heads' post-processing."""
    heads = spec.get("heads")
    if not isinstance(heads, Mapping):
        return dict(spec)
    kept = {}
    for name, head in heads.items():
        options = head.get("options") if isinstance(head, Mapping) else None
        if isinstance(options, Mapping):
            head = {**head, "options": {key: value for key, value in options.items() if key != "postprocess"}}
        kept[name] = head
    return {**spec, "heads": kept}


def open_resume(path: str | Path) -> dict[str, Any]:
    """A checkpoint to resume from, its tensors still on the disk."""
    from effdet.training.checkpoints import read_checkpoint  # imports torch, which the rules do without

    checkpoint = read_checkpoint(path, mmap=True)
    needed = (FACTS, "resume_point", "loops", "optimizer_states", "raw_state_dict")
    if missing := [key for key in needed if key not in checkpoint]:
        raise UserError(
            f"{path} can't be resumed: it has no {', '.join(missing)} (a model file?); "
            f"use weights={path} to start a new run from it"
        )
    return checkpoint


def check_same(saved: Mapping[str, Any], current: Mapping[str, Any], path: str | Path) -> None:
    """Raises UserError with the differences between two :func:`run_facts`.

    What an older file does not state is not compared.
    """
    if "model" in saved:
        saved = {**saved, "model": _trained(saved["model"])}
    found = differences(saved, {name: value for name, value in current.items() if name in saved})
    if found:
        more = [f"and {len(found) - _SHOWN} more"] if len(found) > _SHOWN else []
        raise UserError(f"{OTHER_VALUES.format(path)} {'; '.join([*found[:_SHOWN], *more])}")


def differences(saved: Mapping[str, Any], current: Mapping[str, Any], prefix: str = "") -> list[str]:
    """``name=current: the run has saved`` for each leaf that differs."""
    found = []
    for key in [*saved, *(key for key in current if key not in saved)]:
        old, new = saved.get(key, "nothing"), current.get(key, "nothing")
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            found += differences(old, new, f"{prefix}{key}.")
        elif old != new:
            found.append(f"{prefix}{key}={shown(new)}: the run has {shown(old)}")
    return found


def shown(value: Any) -> str:
    """In messages: as it is written in an override, cut off behind 60 letters."""
    text = value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."
