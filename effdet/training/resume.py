"""Resuming: the same model, the same data, the same batches; or an error that lists what differs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from effdet.training.checkpoints import read_checkpoint
from heads.structures import UserError

FACTS = "facts"
_SHOWN = 12


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
    found = list(differences(saved, {name: value for name, value in current.items() if name in saved}))
    if not found:
        return
    shown = "; ".join(found[:_SHOWN]) + (f"; and {len(found) - _SHOWN} more" if len(found) > _SHOWN else "")
    raise UserError(
        f"this run is not the one saved in {path} (saved -> now): {shown}; "
        f"give the saved values, or start a new run with weights={path}"
    )


def differences(saved: Any, current: Any, name: str = "") -> Iterator[str]:
    """``name: saved -> current`` for each leaf that differs."""
    if isinstance(saved, Mapping) and isinstance(current, Mapping):
        for key in [*saved, *(key for key in current if key not in saved)]:
            inner = f"{name}.{key}" if name else str(key)
            yield from differences(saved.get(key, "nothing"), current.get(key, "nothing"), inner)
    elif saved != current:
        yield f"{name}: {_short(saved)} -> {_short(current)}"


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."
