"""A run that goes on takes its configuration from the run, not from whatever the overrides leave out.

``effdet train resume=runs/x`` needs no further override. One that is given counts from the resume on (more epochs, another
patience), or is refused where the run would no longer be the one that was begun; none is passed over. :data:`RULES` says
which, for every key.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum
from pathlib import Path
from typing import Any

from effdet.cli.config import Config
from effdet.cli.errors import ConfigError
from effdet.cli.rundir import CONFIG
from effdet.plugins import TARGET


class Rule(Enum):
    """What becomes of an override whose value is not that of the run to resume."""

    COUNTS = "counts from the resume on"
    FIXED = "is refused: every step depends on it"
    COMPARED = "is compared with what the run really used, once that is known: equal, or refused"
    IDLE = "concerns the start of a new run, or nothing"


RULES: dict[str, Rule] = {
    # what is trained on what
    **dict.fromkeys(("task", "data", "backbone", "neck", "head", "model", "phi", "architecture"), Rule.FIXED),
    **dict.fromkeys(("image_size", "preprocess", "limit", "weights", "conventions"), Rule.FIXED),
    "data.unreadable": Rule.COUNTS,  # the way out of a run that an image has stopped
    # how each step is made
    **dict.fromkeys(("seed", "optimizer", "ema", "augment", "head_epochs", "progressive", "freeze"), Rule.FIXED),
    "trainer.accumulate_grad_batches": Rule.FIXED,
    "trainer.limit_train_batches": Rule.FIXED,
    "trainer.overfit_batches": Rule.FIXED,
    "trainer.fast_dev_run": Rule.FIXED,
    **dict.fromkeys(("batch_size", "cpu_processes", "trainer.devices", "trainer.num_nodes"), Rule.COMPARED),
    # what a run may do otherwise from some step on: callbacks and Lightning take these from the configuration alone
    **dict.fromkeys(("norm_momentum", "sync_bn", "grad_checkpointing", "compile", "channels_last"), Rule.COUNTS),
    **dict.fromkeys(("early_stopping", "checkpoint", "nonfinite", "evaluation", "trainer"), Rule.COUNTS),
    **dict.fromkeys(("score", "nms_iou", "max_detections"), Rule.COUNTS),
    **dict.fromkeys(("workers", "device", "logger", "progress", "report"), Rule.COUNTS),
    # what is over once a run has begun, and what has no effect in any training
    **dict.fromkeys(("run_dir", "resume", "overwrite", "preflight", "strict", "trust"), Rule.IDLE),
    "trainer.limit_test_batches": Rule.IDLE,
    "trainer.limit_predict_batches": Rule.IDLE,
    "trainer.use_distributed_sampler": Rule.IDLE,
    "trainer.default_root_dir": Rule.IDLE,
    "trainer.enable_autolog_hparams": Rule.IDLE,
    "trainer.model_registry": Rule.IDLE,
}
"""By key or by section; the longest that fits a key holds."""
CHOICES = ("task", "data", "backbone", "neck", "head", "optimizer", "augment")
"""Groups whose files differ in their keys: the run's file is taken whole, whichever one the words compose."""
NOT_INHERITED = ("run_dir", "resume", "overwrite", "experiment")


def saved_config(source: Path) -> Config:
    """The configuration beside `source`, a run folder or a checkpoint of one.

    Raises:
        ConfigError: there is none.
    """
    folder = source if source.is_dir() else source.parent.parent
    path = folder / CONFIG
    if not path.is_file():
        raise ConfigError([f"{source}: no {CONFIG} in {folder}; only the folder of a run has one"])
    return Config.from_yaml(path.read_text(encoding="utf-8"), origin=path)


def asked(config: Config, default: Config, words: Iterable[str]) -> set[str]:
    """Leaves of `config` that the user asked for: named by a word, or changed by one (an experiment, a task).

    Args:
        config: composed with the user's words.
        default: composed without any.
        words: the keys of the words; a group stands for all that lies in it.
    """
    plain = default.flat()
    named = tuple(words)
    return {
        key
        for key, value in config.flat().items()
        if any(key == word or key.startswith(f"{word}.") for word in named) or (key in plain and plain[key] != value)
    }


def continued(config: Config, saved: Config, explicit: set[str]) -> Config:
    """The configuration of the run that goes on.

    Raises:
        ConfigError: the words ask for another model or other data than the run has; a line a difference.
    """
    old, new = saved.flat(), config.flat()
    differences = [
        f"{key}={_shown(new[key])}: the run has {_shown(old.get(key, old.get(f'{key}.{TARGET}', 'no such key')))}"
        for key in new
        if key in explicit and rule(key) is Rule.FIXED and _differs(key, new, old)
    ]
    if differences:
        advice = "leave these out, or start a new run from its weights by weights=RUN:"
        raise ConfigError([f"the run to resume has other values; {advice}", *differences])
    whole = config.replacing(inherited(old, new, explicit))
    sections = {name for key in old for name in _sections(key)}
    return whole.without(
        [key for key in new if _is_choice(key) and key not in old and key not in explicit and key not in sections]
    )


def _differs(key: str, new: Mapping[str, Any], old: Mapping[str, Any]) -> bool:
    """Whether the run has another value; a key that it lacks is younger than the run, unless a ``_target_`` is concerned."""
    if key in old:
        return new[key] != old[key]
    return f"{key}.{TARGET}" in old or any(f"{section}.{TARGET}" in new for section in _sections(key))


def _sections(key: str) -> list[str]:
    """``a`` and ``a.b`` of ``a.b.c``."""
    return [key[:index] for index, letter in enumerate(key) if letter == "."]


def inherited(old: Mapping[str, Any], new: Mapping[str, Any], explicit: set[str]) -> dict[str, Any]:
    """What is taken from the run: every key that still exists and was not asked for."""
    return {
        key: value
        for key, value in old.items()
        if key not in explicit
        and key.partition(".")[0] not in NOT_INHERITED
        and (key in new or _is_choice(key) or rule(key) is Rule.FIXED)
    }


def _is_choice(key: str) -> bool:
    return key.partition(".")[0] in CHOICES


def rule(key: str) -> Rule:
    """What becomes of another value of `key` at a resume; of one that no rule names, that it is refused."""
    parts = key.split(".")
    names = (".".join(parts[:length]) for length in range(len(parts), 0, -1))
    return next((RULES[name] for name in names if name in RULES), Rule.FIXED)


def changed(config: Config, saved: Config) -> list[str]:
    """``key: saved -> now`` for each value that counts from the resume on."""
    old = saved.flat()
    return [
        f"{key}: {_shown(old[key])} -> {_shown(value)}"
        for key, value in config.flat().items()
        if key in old and old[key] != value and rule(key) is Rule.COUNTS
    ]


def _shown(value: Any) -> str:
    return "null" if value is None else str(value)
