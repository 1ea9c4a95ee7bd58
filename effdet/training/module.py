"""The one LightningModule: a training step for every task, and validation through the one evaluation loop."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from backbones.torch_internals import set_last_rates
from effdet.training.autobatch import largest_batch
from effdet.training.batchnorm import set_norm_momentum
from effdet.training.callbacks.metrics import LossMeter
from effdet.training.extra_losses import ExtraLoss, Run, extra_terms, model_outputs
from effdet.training.freezing import Freezing
from effdet.training.lightning_internals import set_logged_step
from effdet.training.loader import LoaderFactory, OneItem, ResumableLoader, counted_step
from effdet.training.monitor import is_number, with_mean
from effdet.training.optimizers import STATES, build_optimizer, multiplier, own_schedule
from effdet.training.randomness import seed_step
from effdet.training.resume import FACTS
from effdet.training.resume_point import ResumePoint, loop_state
from effdet.training.settings import FitSettings
from heads.protocol import Context
from heads.ranks import Window
from heads.structures import Batch, UserError

Evaluate = Callable[[nn.Module], Mapping[str, Any]]
"""Evaluates a model (in evaluation mode, on its device): numbers are logged as ``val/NAME``, all else is ignored."""
Inspect = Callable[[Tensor, Tensor, Optimizer], Tensor | bool]
"""Sees (gradient norm, loss, optimiser) before an optimiser step; whether it is taken, as ``VisionModule.step_taken``."""


class VisionModule(LightningModule):
    """Trains a model.

    Args:
        model: a `VisionModel`: ``model(images, progress)``, ``.loss(outputs, targets, context)``,
            ``.preprocess.normalise(uint8 images)``.
        evaluate: what validation runs; None for no validation.
        extra: losses beside the heads'.
        monitor: names of the metrics that decide the best checkpoint; the mean of several becomes one more metric.
    """

    def __init__(
        self,
        model: nn.Module,
        settings: FitSettings,
        *,
        train_batches: LoaderFactory,
        evaluate: Evaluate | None = None,
        monitor: Sequence[str] = (),
        extra: Sequence[ExtraLoss] = (),
    ) -> None:
        super().__init__()
        self.model = model.to(memory_format=torch.channels_last) if settings.channels_last else model
        self.extra = nn.ModuleList(extra)
        if settings.channels_last:
            self.extra.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.settings = settings
        self.batch_size = settings.batch_size if isinstance(settings.batch_size, int) else 0
        """Images in a batch; `setup` finds it where the settings say auto."""
        self.evaluate = evaluate
        self.monitor = tuple(monitor)
        self.record: dict[str, Any] = {}
        """Plain values that go into each checkpoint as they are."""
        self.meter = LossMeter()
        self.metrics: dict[str, Any] = {}
        """What the last evaluation gave."""
        self.metrics_step = -1
        self.grad_norm: Tensor | None = None
        """Of the last optimiser step, before clipping."""
        self.last_loss: Tensor | None = None
        """Of the last optimiser step, as far as its micro-batches have been trained."""
        self.step_taken: Tensor | bool = True
        """Whether the last optimiser step was taken, and not skipped; a () bool tensor where only the device knows yet."""
        self.inspect: Inspect | None = None
        self.save_at: ResumePoint | None = None
        """Where the checkpoint that is being saved stands; set by the callback that saves."""
        self._train_batches = train_batches
        self._loader: ResumableLoader | None = None
        self._start = ResumePoint(0, 0)
        self._window: Window | None = None
        self._step_begin, self._step_batches = 0, 1
        self.freezing = Freezing(model, settings.freeze)
        if settings.grad_checkpointing:
            if not hasattr(model.backbone, "grad_checkpointing"):
                raise UserError(f"grad_checkpointing=true: backbone {type(model.backbone).__name__} doesn't offer it")
            try:
                model.backbone.grad_checkpointing = True  # type: ignore[union-attr]
            except ValueError as error:  # backbones stand below UserError
                raise UserError(str(error)) from error

    def setup(self, stage: str) -> None:
        """Here, since the processes know each other from here on: all take what fits the fullest device."""
        if self.batch_size > 0:
            return
        states = 1 + self.settings.ema.enabled + STATES.get(self.settings.optimizer.name, 2)
        device: torch.device = self.trainer.strategy.root_device
        size = largest_batch(
            self.model,
            self._train_batches,
            device=device,
            precision=self.settings.precision,
            states=states,
            extra=self.extra,
            limit=self.settings.batch_limit,
        )
        self.batch_size = int(self.all_gather(torch.tensor(size, device=device)).min())  # type: ignore[union-attr]
        self.record.setdefault(FACTS, {})["batch_size"] = self.batch_size
        if self.trainer.is_global_zero:
            print(f"batch_size=auto: {self.batch_size}", flush=True)

    def train(self, mode: bool = True) -> VisionModule:
        """As usual, but what is frozen stays in evaluation mode."""
        super().train(mode)
        self.freezing.hold()
        return self

    def forward(self, images: Tensor) -> tuple[Any, Context]:
        """Raw outputs for (B, 3, H, W) uint8 RGB images with features that extra losses read, and the loss's context."""
        if self.settings.channels_last:
            images = images.contiguous(memory_format=torch.channels_last)  # while they are bytes: a quarter of the work
        images = self.model.preprocess.normalise(images)  # type: ignore[operator,union-attr]
        progress = torch.full((), self.progress, device=images.device)  # filled there; a number would be compiled in
        return model_outputs(self.model, images, progress, self.extra), Context.of(images, self.progress)

    @property
    def progress(self) -> float:
        """Share of the optimiser steps that are done, 0 to 1; 0 throughout where nothing but time ends the run."""
        steps = self.total_steps
        return min(self.trainer.global_step / steps, 1.0) if steps else 0.0

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        outputs, context = self(batch.images)
        accumulate = self.trainer.accumulate_grad_batches
        if accumulate > 1:
            terms = self._accumulated(outputs, context, batch, batch_idx)
        else:
            terms = self.model.loss(outputs, batch.targets, context)  # type: ignore[operator]
            self._step_begin, self._step_batches = batch_idx, 1
        terms |= extra_terms(self.extra, self.model, batch, outputs, context)
        loss = torch.stack(list(terms.values())).sum()
        self.meter.add(terms, loss)
        share = loss.detach() / self._step_batches
        self.last_loss = share if batch_idx == self._step_begin or self.last_loss is None else self.last_loss + share
        # Lightning divides by the batches of a full step; an epoch's last one may have fewer.
        return loss if self._step_batches == accumulate else loss * (accumulate / self._step_batches)

    def _accumulated(self, outputs: Any, context: Context, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """The loss terms of a micro-batch, divided by what its whole optimiser step counts (:mod:`effdet.training.loader`)."""
        if (batches := self.loader().window(batch_idx)) is not None:
            self._step_begin, self._step_batches = batch_idx, len(batches)
            first = self.trainer.fit_loop.total_batch_idx
            targets = [batch.targets, *(each.targets.to(self.device, non_blocking=True) for each in batches[1:])]

            def outputs_of(index: int) -> tuple[Any, Context]:
                seed_step(self.settings.seed, first + index, self.global_rank, self.device)
                return self(batches[index].images.to(self.device, non_blocking=True))

            self._window = counted_step(self.model, (outputs, context), targets, outputs_of)
        index = batch_idx - self._step_begin
        with self._window.training(index) if self._window is not None else nullcontext():
            return self.model.loss(outputs, batch.targets, context)  # type: ignore[operator]

    def on_train_start(self) -> None:
        """The rate of the next step by this run's schedule: a checkpoint brings that of the run as it was planned before."""
        for plan in self.trainer.lr_scheduler_configs:
            if isinstance(scheduler := plan.scheduler, LambdaLR):
                shares = [share(scheduler.last_epoch) for share in scheduler.lr_lambdas]
                rates = [base * share for base, share in zip(scheduler.base_lrs, shares, strict=True)]
                for group, rate in zip(scheduler.optimizer.param_groups, rates, strict=True):
                    group["lr"] = rate
                set_last_rates(scheduler, rates)

    def on_train_epoch_start(self) -> None:
        self.loader().seek(self.current_epoch)

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        seed_step(self.settings.seed, self.trainer.fit_loop.total_batch_idx, self.global_rank, self.device)
        set_logged_step(self.trainer, self.trainer.global_step)

    def evaluated(self) -> dict[str, Any]:
        """Metrics of the model as it is, with the mean of those that decide where there are several."""
        assert self.evaluate is not None
        return with_mean(self.evaluate(self.model), self.monitor)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.metrics = self.evaluated()
        self.metrics_step = self.trainer.global_step
        values = {f"val/{name}": float(value) for name, value in self.metrics.items() if is_number(value)}
        # To Lightning for callbacks that monitor; to the loggers by hand, with the step that training rows have.
        self.log_dict(values, logger=False, batch_size=1, rank_zero_only=False)
        for logger in self.trainer.loggers:
            logger.log_metrics({"epoch": self.current_epoch, **values}, step=self.trainer.global_step)

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        return batch.to(device, non_blocking=True) if isinstance(batch, Batch) else batch

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        by_value = gradient_clip_algorithm == "value"
        scaled = self.is_scaled
        self.step_taken = True
        if not gradients or (self.inspect is None and not gradient_clip_val and not scaled):
            return
        self.grad_norm = torch.nn.utils.get_total_norm(gradients)
        assert self.last_loss is not None
        if self.inspect is not None:
            self.step_taken = self.inspect(self.grad_norm, self.last_loss, optimizer)
        elif scaled:  # fp16's scaler skips a step whose gradient overflows, with or without us
            self.step_taken = torch.isfinite(self.grad_norm)
        if self.step_taken is False:
            return
        if gradient_clip_val and by_value:
            torch.nn.utils.clip_grad_value_(parameters, gradient_clip_val)
        elif gradient_clip_val:
            torch.nn.utils.clip_grads_with_norm_(parameters, gradient_clip_val, self.grad_norm)

    def configure_optimizers(self) -> Any:
        # fp16's scaler unscales before clipping, which a fused optimiser would do too late.
        fused = self.device.type in ("cpu", "cuda") and not self.is_scaled
        optimizer = build_optimizer(
            self.model, self.settings.optimizer, step_images=self.step_images, fused=fused, extra=self.extra
        )
        schedule = self.settings.optimizer.schedule
        if isinstance(schedule, Mapping):
            scheduler = own_schedule(schedule, optimizer, steps=self.total_steps)
        else:
            share = multiplier(self.settings.optimizer, steps=self.total_steps, steps_per_epoch=self.steps_per_epoch)
            # A bare function: LambdaLR saves the state of callables, and a resume would bring back an old one's.
            scheduler = LambdaLR(optimizer, share)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    @property
    def is_scaled(self) -> bool:
        """Whether the loss is scaled before its gradient, as fp16 needs it."""
        return getattr(self.trainer.precision_plugin, "scaler", None) is not None

    @property
    def step_images(self) -> int:
        """Images that one optimiser step averages over: those that it really has, in a set smaller than what was asked."""
        batches = min(self.trainer.accumulate_grad_batches, self.epoch_batches)
        return self.real_batch_size * batches * self.trainer.world_size

    @property
    def real_batch_size(self) -> int:
        """Images that a batch has, which are fewer than `batch_size` where the set is smaller than that."""
        return self.loader().batch_size(self.batch_size) if self.batch_size else 0

    @property
    def epoch_batches(self) -> int:
        """Batches of an epoch on this process, with Lightning's limits."""
        trainer: Any = self.trainer
        length, limit = len(self.loader()), trainer.limit_train_batches
        return min(length, limit) if isinstance(limit, int) else max(int(length * limit), 1)

    @property
    def steps_per_epoch(self) -> int:
        return math.ceil(self.epoch_batches / self.trainer.accumulate_grad_batches)

    @property
    def total_steps(self) -> int | None:
        """Optimiser steps of the whole run; None where nothing but time ends it."""
        epochs = self.trainer.max_epochs
        limits = [] if epochs in (None, -1) else [epochs * self.steps_per_epoch]
        limits += [] if self.settings.max_steps is None else [self.settings.max_steps]
        return min(limits) if limits else None

    def loader(self) -> ResumableLoader:
        if self._loader is None:
            self._loader = ResumableLoader(
                self._train_batches(
                    batch_size=self.batch_size, rank=self.trainer.global_rank, world=self.trainer.world_size
                ),
                lambda: self.trainer.accumulate_grad_batches,
            )
        return self._loader

    def attach_losses(self, average: nn.Module | None) -> None:
        """Let extra losses know the run, once there is an `average`."""
        trainer: Any = self.trainer
        run = Run(average, lambda: trainer.fit_loop.total_batch_idx, self.global_rank, trainer.world_size)
        for loss in self.extra:
            loss.attach(run)  # type: ignore[operator]

    def close(self) -> None:
        """Ends the processes that load, if any were started."""
        for loss in self.extra:
            loss.close()  # type: ignore[operator]
        if self._loader is not None:
            self._loader.close()

    def train_dataloader(self) -> ResumableLoader:
        loader = self.loader()
        self._check_epoch()
        loader.limit = self.epoch_batches
        loader.seek(self._start.epoch, self._start.batch)
        return loader

    def _check_epoch(self) -> None:
        """What the trainer's arguments ask of an epoch's batches, whose number is known from here on."""
        trainer: Any = self.trainer
        trainer.limit_train_batches = self.epoch_batches  # a share of less than one batch is one
        interval = self.settings.trainer.get("val_check_interval")
        over_epochs = trainer.check_val_every_n_epoch is None
        if type(interval) is int and not over_epochs and self.evaluate is not None and interval > self.epoch_batches:
            raise UserError(
                f"trainer.val_check_interval={interval}: an epoch has {self.epoch_batches} batches; use at most that many, or "
                "trainer.check_val_every_n_epoch=null, which counts batches over epochs"
            )

    def val_dataloader(self) -> OneItem:
        return OneItem()

    def on_fit_start(self) -> None:
        real = self.real_batch_size
        if real < self.batch_size and self.trainer.is_global_zero:
            print(
                f"batch_size={self.batch_size}: the train split is smaller than that, a batch has {real} images, and the "
                "learning rate is that of such batches",
                flush=True,
            )
        set_norm_momentum(self.model, momentum=self.settings.norm_momentum, batches=self.epoch_batches)
        if self.settings.compile:
            # In place, so that the keys of the weights stay; here, after EMA has copied the model. Sizes are few
            # (augment.multi_scale, stages) and each is compiled: anchors are made of numbers, which no symbol can stand for.
            for companion in (module for loss in self.extra for module in loss.companions()):  # type: ignore[operator]
                companion.compile(dynamic=False)
            self.model.compile(dynamic=False)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Lightning's dictionary becomes ours: prefix-free weights with EMA in front, and a position that is exact."""
        place = self.save_at or ResumePoint(self.current_epoch, self.trainer.fit_loop.batch_idx + 1)
        saved = checkpoint["state_dict"]
        raw = {name.removeprefix("model."): saved[name] for name in saved if not name.startswith("extra.")}
        if extra := {name: value for name, value in saved.items() if name.startswith("extra.")}:
            checkpoint["extra_state_dict"] = extra
        checkpoint["state_dict"] = checkpoint.pop("ema_state_dict", raw)
        checkpoint["raw_state_dict"] = raw
        checkpoint["loops"] = {
            "fit_loop": loop_state(
                checkpoint["loops"]["fit_loop"], place, steps=self.trainer.global_step, epoch_batches=self.epoch_batches
            )
        }
        checkpoint["resume_point"] = place.to_dict()
        checkpoint["loss_meter"] = self.meter.state_dict()
        checkpoint["metrics"] = {name: value for name, value in self.metrics.items() if is_number(value)}
        checkpoint |= self.record

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self._start = ResumePoint.from_dict(checkpoint["resume_point"])
        self.meter.load_state_dict(checkpoint["loss_meter"])
        self.metrics = dict(checkpoint["metrics"])
        # The current weights are Lightning's to load, the average is the EMA callback's.
        checkpoint["ema_state_dict"] = checkpoint["state_dict"]
        checkpoint["state_dict"] = {f"model.{name}": value for name, value in checkpoint["raw_state_dict"].items()}
        checkpoint["state_dict"] |= checkpoint.get("extra_state_dict", {})
