"""``evaluation.at_start``: the metrics of the weights that a training starts from, before its first step.

A run that makes a model worse is seen by nothing else: its own evaluations only rise from the damage of the first epoch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.seed import isolate_rng

from effdet.training.monitor import is_number, measured


class StartEvaluation(Callback):
    """Evaluates once, before the first step of a run that is not resumed; random state and modes stay as they are.

    The metrics go to the loggers as step 0 of epoch 0 and, with the checkpoints, through every resume.

    Args:
        monitor: name of the metric by which the best checkpoint is chosen.
        say: takes the line for the user.
        enabled: False evaluates nothing, but carries what an earlier part of the run found.
    """

    def __init__(self, monitor: str | None, say: Callable[[str], object], *, enabled: bool = True) -> None:
        self.monitor = monitor
        self.score: float | None = None
        """The monitored metric of the starting weights; None where they were not evaluated."""
        self._say, self._enabled = say, enabled

    def state_dict(self) -> dict[str, Any]:
        return {"score": self.score}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.score = state_dict["score"]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        module: Any = pl_module
        if (
            not self._enabled
            or trainer.ckpt_path is not None
            or trainer.global_step > 0
            or not trainer.enable_validation
        ):
            return
        training = [layer for layer in module.modules() if layer.training]
        module.eval()
        with isolate_rng(), trainer.precision_plugin.val_step_context():
            metrics = module.evaluated()
        for layer in training:  # frozen parts stay in evaluation mode
            layer.training = True
        values = {f"val/{name}": float(value) for name, value in metrics.items() if is_number(value)}
        for logger in trainer.loggers:
            logger.log_metrics({"epoch": 0, **values}, step=0)
        if self.monitor is None or self.monitor not in metrics:
            return
        self.score = measured(metrics[self.monitor])
        if self.score is None:
            return
        names = dict.fromkeys((*module.monitor, self.monitor))
        shown = ", ".join(f"{name} {float(metrics[name]):.4f}" for name in names if name in metrics)
        self._say(f"the starting weights, before training: {shown}")
