"""``effdet export``: a model as a file for another runtime, behind the parity gate."""

from __future__ import annotations

from collections.abc import Mapping
from glob import escape
from pathlib import Path
from typing import Any

from effdet.cli.assemble import POSTPROCESS, evaluators, labels_of, open_split
from effdet.cli.config import Config, as_size
from effdet.cli.models import open_network
from effdet.cli.outputs import refuse_export
from effdet.cli.overrides import Overrides
from effdet.cli.run import CHECKPOINTS, RunResult, holds_run
from effdet.data import Dataset, EvalSet
from effdet.data.images import read_image
from effdet.evaluation import LossEvaluator, evaluate
from effdet.export import ExportSettings, Tolerance, export_model
from effdet.export.gate import Measure
from effdet.export.images import canvases, spread, street_images
from effdet.inference.sources import find_images
from effdet.model import VisionModel
from effdet.preprocess import Preprocess
from heads.structures import UserError


def run(config: Config, overrides: Overrides) -> RunResult:
    """Write, compare, print."""
    settings = ExportSettings(
        format=config.format,
        precision=config.precision,
        nms=config.nms,
        normalise=config.normalise,
        batch_size=config.batch_size,
        dynamic_size=config.dynamic_size,
    )
    settings.check_installed()
    if settings.precision == "int8" and config.source is None and config.get("data.name") is None:
        raise UserError("precision=int8 needs images to measure ranges on: data=NAME data.root=DIR, or source=FOLDER")
    target = output_file(config, settings)
    refuse_export(config, target, [] if config.source is None else find_images(config.source))
    model = open_network(config)
    size = as_size(config.image_size)
    canvas = (size, size) if isinstance(size, int) else size
    preprocess = model.preprocess if canvas is None else model.preprocess.fitted(canvas)
    labelled = None
    if config.get("data.name") is not None:
        labelled = open_split(config, config.split, requested=labels_of(model))
    report = export_model(
        model,
        target,
        settings,
        images=_compared(config, labelled, preprocess),
        calibration=_calibration(config, preprocess) if settings.precision == "int8" else None,
        postprocess={key: config.get(key) for key in POSTPROCESS if config.get(key) is not None},
        image_size=canvas,
        tolerance=Tolerance.of(settings.precision, config.get("tolerance")),
        measure=_measure(model, labelled, preprocess) if labelled is not None and config.gate.metrics else None,
        threads=config.threads,
        notify=lambda report: print(*report.lines(), sep="\n"),
    )
    for name, (before, after) in report.metrics.items():
        print(f"{name} {before:.4f} of the model, {after:.4f} of the file")
    size_mb = sum(file.stat().st_size for file in target.parent.glob(f"{escape(target.stem)}.*")) / 1e6
    print(f"{size_mb:.1f} MB")
    print(target)
    return RunResult(target.parent, {name: after for name, (_, after) in report.metrics.items()})


def output_file(config: Config, settings: ExportSettings) -> Path:
    """``out``, a file or a folder that is there; else a file of ``export`` in the run of the model, else of ``exports``."""
    model = Path(config.model)
    if config.out is not None:
        out = Path(config.out)
        return out / f"{model.stem}-{settings.precision}{settings.kind.suffix}" if out.is_dir() else out
    for directory in (model, model.parent.parent if model.parent.name == CHECKPOINTS else model):
        if directory.is_dir() and holds_run(directory):
            return directory / "export" / f"{directory.resolve().name}-{settings.precision}{settings.kind.suffix}"
    return Path("exports") / f"{model.stem}-{settings.precision}{settings.kind.suffix}"


def _compared(config: Config, labelled: Dataset | None, preprocess: Preprocess) -> Any:
    """Canvases of ``source``, else of the labelled set, else of drawn streets."""
    count = config.gate.images
    if config.source is not None:
        return canvases(_read(config.source, count), preprocess)
    if labelled is not None:
        return canvases(_read_source(labelled, count), preprocess)
    print("comparing on drawn streets: data=NAME or source=FOLDER compares on your own images")
    return canvases(street_images(count), preprocess)


def _calibration(config: Config, preprocess: Preprocess) -> Any:
    """Canvases that stand for what the file will see."""
    count = config.calibration.images
    if config.source is not None:
        return canvases(_read(config.source, count), preprocess)
    return canvases(
        _read_source(open_split(config.replacing({"max_images": None}), "train", requested=()), count), preprocess
    )


def _measure(model: VisionModel, source: Dataset, preprocess: Preprocess) -> Measure:
    def measure(predict: Any) -> Mapping[str, Any]:
        dataset = EvalSet(source, preprocess)
        made = evaluators(model, dataset)
        made = {name: one for name, one in made.items() if not isinstance(one, LossEvaluator)}  # a file has no loss
        return evaluate(predict, dataset, evaluators=made).metrics if made else {}

    return measure


def _read(source: str, count: int) -> Any:
    paths = find_images(source)
    return (read_image(str(paths[index])) for index in spread(len(paths), count))


def _read_source(source: Dataset, count: int) -> Any:
    return (source.read_image(source.records[index]) for index in spread(len(source), count))
