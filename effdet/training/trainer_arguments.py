"""What Lightning's Trainer is given: values that it would stumble over later are refused here, in one line each.

Lightning meets some of them with a traceback from deep inside, some in mid-run, and some in silence (no epoch at all, a
thousand epochs, an evaluation that never comes). What only its own constructor knows, such as the names of strategies, is
asked of it by making a Trainer, before any work is done.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from effdet.durations import seconds_of
from effdet.plugins import TARGET, is_target
from heads.structures import UserError

NODES = ("MASTER_ADDR", "SLURM_JOB_ID", "TORCHELASTIC_RUN_ID")
"""Environment variables of which one is set where several nodes know each other."""


def problems(arguments: Mapping[str, Any], *, patience: int | None = None) -> list[str]:
    """One line for each argument that cannot do what it says.

    Args:
        arguments: of the Trainer, by name; what is missing has Lightning's default.
        patience: of early stopping, which may be the only end that a run has.
    """
    found = [*_ends(arguments, patience), *_intervals(arguments)]
    for name in ("callbacks", "plugins", "logger"):
        passed = arguments.get(name)
        if passed is None or name == "logger" and isinstance(passed, bool):
            continue
        named = name != "plugins"
        for part in passed if isinstance(passed, list) else [passed]:
            if isinstance(part, str | int | float) or isinstance(part, dict) and not (named and is_target(part)):
                how = f"such as [{{{TARGET}: package.Name}}]" if named else "which only callers from Python can give"
                found.append(f"trainer.{name}={passed}: takes Lightning's objects, {how}")
    strategy = str(arguments.get("strategy"))
    if any(text in strategy for text in ("spawn", "fork", "notebook")):
        found.append(f"trainer.strategy={strategy}: its processes would not know the run; use trainer.strategy=ddp")
    nodes = arguments.get("num_nodes") or 1
    if nodes > 1 and not any(name in os.environ for name in NODES):
        found.append(
            f"trainer.num_nodes={nodes}: this process knows no other node and would wait for them without end; start it "
            "by torchrun or Slurm on each node, or set MASTER_ADDR, MASTER_PORT and NODE_RANK"
        )
    return found


def _ends(arguments: Mapping[str, Any], patience: int | None) -> list[str]:
    found = []
    epochs, steps = arguments.get("max_epochs", 1), arguments.get("max_steps", -1)
    if epochs == 0:
        found.append("trainer.max_epochs=0: trains nothing; use 1 or more")
    if steps is not None and (not isinstance(steps, int) or isinstance(steps, bool) or steps < 1 and steps != -1):
        found.append(f"trainer.max_steps={steps!r} must be 1 or more, or -1 for no limit")
    endless = epochs in (None, -1) and steps in (None, -1) and arguments.get("max_time") is None and patience is None
    if endless:
        shown = "null" if epochs is None else epochs
        found.append(
            f"trainer.max_epochs={shown}: the run would never end; set trainer.max_epochs, trainer.max_steps or "
            "trainer.max_time"
        )
    if arguments.get("limit_train_batches", 1.0) == 0:
        found.append(
            f"trainer.limit_train_batches={arguments['limit_train_batches']}: trains nothing; use 1 batch or more, or a "
            "share above 0"
        )
    return found


def _intervals(arguments: Mapping[str, Any]) -> list[str]:
    found = []
    interval = arguments.get("val_check_interval")
    if interval is not None and not isinstance(interval, str) and interval == 0:
        found.append(
            f"trainer.val_check_interval={interval}: must be above 0; trainer.limit_val_batches=0 turns the evaluation off"
        )
    for name, value in (("max_time", arguments.get("max_time")), ("val_check_interval", interval)):
        if name == "max_time" or isinstance(value, str):
            try:
                seconds_of(value, f"trainer.{name}")
            except ValueError as error:
                found.append(str(error))
    return found


def for_lightning(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """`arguments` as the Trainer is to have them; to be checked by :func:`problems` before.

    Limits of steps and time, and shares of the validation set, are ours to keep. A run without a limit of epochs has none:
    Lightning takes a thousand for None.
    """
    changed = dict(arguments)
    if "max_epochs" in changed and changed["max_epochs"] is None:
        changed["max_epochs"] = -1
    if isinstance(interval := changed.get("val_check_interval"), str):
        changed["val_check_interval"] = timedelta(seconds=seconds_of(interval, "trainer.val_check_interval") or 0)
    if changed.get("limit_val_batches") not in (None, 0):
        changed["limit_val_batches"] = 1.0  # a single item stands for the whole evaluation
    return changed


def refused(arguments: Mapping[str, Any], error: Exception) -> UserError:
    """Lightning's complaint about `arguments` as one line, with the value that it most likely is about in front."""
    text = " ".join(str(error).split()) or type(error).__name__
    lowered = text.lower()
    if any(texts in lowered for texts in ("not available", "no supported gpu", "torch_xla")):
        shown = arguments.get("accelerator")
        return UserError(
            f"trainer.accelerator={shown}: this machine has none that torch can use; use trainer.accelerator=cpu or auto"
        )
    places = {name: _named(name, text) for name, value in arguments.items() if value is not None}
    named = sorted((place, name) for name, place in places.items() if place >= 0)
    if not named:
        return UserError(f"trainer: {text}")
    name = named[0][1]
    return UserError(f"trainer.{name}={arguments[name]}: {text}")


def _named(name: str, text: str) -> int:
    """Where `text` speaks of the argument `name`, or -1."""
    found = re.search(rf"`{name}`|\b{name}=", text)
    return -1 if found is None else found.start()
