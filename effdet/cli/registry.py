"""The commands that there are. A new command is one line here, a module in ``commands/`` and a file in ``conf/``."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Command:
    """One override after ``effdet``."""

    name: str
    """Also the name of its file in ``conf/`` and of its module in ``effdet.cli.commands``."""
    summary: str
    positional: tuple[str, ...] = ()
    """Keys whose overrides may be written without ``key=``."""
    switches: tuple[str, ...] = ()
    """Keys that may be written as a flag."""
    trains: bool = False
    """Whether it trains models: overrides that it doesn't know are those of ``train``, which are handed on."""
    output: str | None = None
    """The key that names the folder of its results; with one, the command runs as the jobs of ``-m``."""
    resume: tuple[str, ...] = ()
    """Overrides with which the same command goes on where it was interrupted."""
    examples: tuple[str, ...] = ()

    @property
    def module(self) -> str:
        return f"effdet.cli.commands.{self.name}"


COMMANDS: dict[str, Command] = {
    command.name: command
    for command in (
        Command(
            "train",
            "train a model, evaluate it, write a run folder",
            output="run_dir",
            resume=("resume=auto",),
            examples=(
                "effdet train experiment=quickstart",
                "effdet train task=detection backbone=b3",
                "effdet train data=coco data.root=DIR backbone=b0 weights=auto",
                "effdet train run_dir=runs/x resume=auto",
                "effdet train -m experiment=quickstart seed=0,1,2 augment=none,light",
            ),
        ),
        Command(
            "evaluate",
            "measure a model on a split of a data set",
            output="out",
            examples=(
                "effdet evaluate model=runs/x split=val",
                "effdet evaluate model=efficientdet_lite0 weights=FILE data=coco data.root=DIR",
            ),
        ),
        Command(
            "predict",
            "draw a model's predictions on images or a video",
            output="out",
            resume=("resume=auto",),
            examples=(
                "effdet predict model=runs/x source=street.jpg",
                "effdet predict model=runs/x source=FOLDER out=OUT resume=auto",
                "effdet predict model=runs/x source=drive.mp4 predict.track=true",
            ),
        ),
        Command(
            "export",
            "write a model for another runtime, checked against the model",
            output="out",
            examples=(
                "effdet export model=runs/x",
                "effdet export model=runs/x format=openvino precision=int8 nms=true out=street.xml",
            ),
        ),
        Command(
            "doctor",
            "say what is wrong with a data set, and what to do about it",
            output="out",
            examples=(
                "effdet doctor data=coco data.root=DIR",
                "effdet doctor data=voc data.root=DIR backbone=lite0 image_size=512",
                "effdet doctor data=yolo data.root=DIR doctor.fix=true out=OUT",
            ),
        ),
        Command(
            "shards",
            "write a data set as tar shards, to stream it from another disk or address",
            examples=("effdet shards data=coco data.root=DIR split=train out=SHARDS",),
        ),
        Command(
            "scale",
            "fit a model to a budget of time or memory; find compound scaling's coefficients by training",
            trains=True,
            examples=(
                "effdet scale fit_latency_ms=30 task=detection",
                "effdet scale phi=2.5 out=model.json",
                "effdet scale grid=true task=classification data=cifar10 data.root=DIR backbone=lite0 image_size=64",
                "effdet scale alpha=1.2 beta=1.1 gamma=1.15 phi=1.5 backbone=lite0",
            ),
        ),
        Command(
            "search",
            "search for an architecture: propose networks, train each briefly and update the controller",
            trains=True,
            examples=(
                "effdet search trials=48 task=classification data=cifar10 data.root=DIR image_size=48 max_images=2000",
                "effdet search algorithm=evolution cost=latency target=10 task=classification data=folder data.root=DIR",
            ),
        ),
        Command(
            "compare",
            "the difference of two evaluations on the same split, with confidence intervals",
            positional=("first", "second"),
            examples=(
                "effdet compare runs/a runs/b",
                "effdet compare runs/a/evaluation/val runs/b/evaluation/val",
                "effdet compare runs/sweeps/x",
            ),
        ),
        Command(
            "explain",
            "where a model looks (Grad-CAM), and what its neck weighs",
            output="out",
            examples=(
                "effdet explain model=runs/x source=street.jpg",
                "effdet explain model=runs/x source=FOLDER layer=C5 most=1",
                "effdet explain model=runs/x",
            ),
        ),
        Command(
            "replay",
            "run a training step again that was not finite, and say where it broke",
            positional=("file",),
            examples=("effdet replay runs/x/nonfinite/step_00000120.pt", "effdet replay FILE precision=32-true"),
        ),
        Command(
            "serve",
            "HTTP inference server with a demo page",
            examples=("effdet serve model=runs/x", "effdet serve model=runs/x port=0 device=cuda"),
        ),
        Command(
            "info",
            "list the models, describe one, describe this machine",
            positional=("model",),
            switches=("env",),
            examples=("effdet info", "effdet info tf_efficientdet_d0", "effdet info phi=-2", "effdet info --env"),
        ),
    )
}
