"""Early stopping: the end of a run whose evaluations get no better."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from effdet.training.monitor import measured


class EarlyStopping(Callback):
    """Ends a run once `patience` evaluations in a row were no better than the best before them.

    In place of Lightning's, whose saved state brings back the patience of the run that was interrupted, and whose word to stop
    is kept until ``min_epochs`` are over, even where the metric has risen since. Here the state holds what was seen and
    nothing that the configuration says, and the evaluations are counted anew from each best.

    Args:
        monitor: name of the metric, as the evaluation gives it.
        patience: evaluations without a better one after which the run ends; None only counts them, so that a patience that a
            resume brings counts from the best too.
        min_delta: a better metric is better by more than this.
        mode: ``max`` or ``min``.
        min_epochs: epochs that the run has at least.
        min_steps: optimiser steps that the run has at least.
    """

    def __init__(
        self,
        monitor: str,
        *,
        patience: int | None,
        min_delta: float = 0.0,
        mode: str = "max",
        min_epochs: int | None = None,
        min_steps: int | None = None,
    ) -> None:
        self.monitor, self.patience, self.min_delta, self.mode = monitor, patience, abs(min_delta), mode
        self.min_epochs, self.min_steps = min_epochs or 0, min_steps or 0
        self.best: float | None = None
        self.waited = 0
        """Evaluations since the best."""
        self.stopped = False

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "waited": self.waited}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best, self.waited = state_dict["best"], int(state_dict["waited"])

    def spent(self, waited: int, *, epochs: int, steps: int) -> bool:
        """Whether a run of `epochs` whole epochs and `steps` steps ends after `waited` evaluations without a better one."""
        enough = epochs >= self.min_epochs and steps >= self.min_steps
        return self.patience is not None and waited >= self.patience and enough

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.sanity_checking:
            return
        metrics: dict[str, Any] = pl_module.metrics  # type: ignore[assignment]
        if self.monitor not in metrics:
            return  # the callback that saves the best says so
        if (score := measured(metrics[self.monitor])) is None:
            return  # a set without any truth for the metric says nothing of the model, however often
        if self._beats(score):
            self.best, self.waited = score, 0
            return
        self.waited += 1
        whole = trainer.fit_loop.batch_idx + 1 >= trainer.num_training_batches
        if self.spent(self.waited, epochs=trainer.current_epoch + whole, steps=trainer.global_step):
            self.stopped = trainer.should_stop = True

    def _beats(self, score: float) -> bool:
        if self.best is None:
            return True
        gain = score - self.best if self.mode == "max" else self.best - score
        return gain > self.min_delta
