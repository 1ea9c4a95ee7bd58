"""``effdet evaluate`` measures a model; ``effdet compare`` says whether two evaluations differ by more than chance."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from effdet.cli.config import Config, as_size
from effdet.cli.data import decoded, evaluators, labels_of, open_split, worker_count, write_report
from effdet.cli.models import (
    POSTPROCESS,
    InferenceKeys,
    open_model,
    semantic_inference,
    torch_device,
)
from effdet.cli.overrides import Overrides
from effdet.cli.run import CHECKPOINTS, RunResult, keep_freed_memory, refuse_json, run_of
from effdet.cli.sweep import is_sweep, sweep_table, to_markdown, write_table
from effdet.data import EvalSet
from effdet.evaluation import DetectionEvaluator, SemanticEvaluator, evaluate, print_metrics, write_json, write_results
from effdet.evaluation.tables import number
from effdet.inference.runtime_model import RuntimeModel, predict_function
from effdet.plurals import counted
from effdet.report import Gallery, comparison_page
from effdet.report.base import signed
from effdet.report.comparison import MAIN, conclusion, unsure
from effdet.report.statistics.bootstrap import Difference, paired_difference
from effdet.report.statistics.files import find_statistics, read_statistics, shared_heads
from heads.structures import UserError

if TYPE_CHECKING:
    from effdet.cli.settings import Data, EvaluationBackend


@dataclass(frozen=True, kw_only=True)
class Evaluate(InferenceKeys):
    """Keys of `effdet evaluate`."""

    split: Literal["train", "val", "test"]
    """What to measure on."""
    max_images: Annotated[int, "1.."] | None
    """Only the first N images; null is all, or as many as the run was limited to."""
    batch_size: Annotated[int, "1.."]
    """Images at once; the numbers do not depend on it."""
    workers: Annotated[int, "0.."] | None
    """Loader processes; null derives it from the CPU cores."""
    score_threshold: Annotated[float, "0..1"] | None
    """Detections with lower scores are dropped; null is the model's own (.001, as for COCO results)."""
    class_maps: bool
    """true also writes each image's segmentation map as PNG, in the set's own ids as Cityscapes takes submissions, to
    class_maps/ in the folder of the results."""
    out: Path | None
    """Folder for the results; null is evaluation/SPLIT in the run, or evaluations/MODEL-DATA-SPLIT."""
    report: bool
    """false writes no report.html (curves, intervals, mistakes, images), which takes seconds."""
    evaluation: EvaluationBackend
    data: Data


@dataclass(frozen=True, kw_only=True)
class Compare:
    """Keys of `effdet compare`."""

    first: Path | None
    """A, a run folder or a folder of evaluate; or the folder of a multirun; must be given."""
    second: Path | None
    """B, likewise (none with a multirun); differences are B - A."""
    samples: Annotated[int, "100.."]
    """Number of bootstrap samples."""
    seed: Annotated[int, "0.."]
    """Same seed, same samples."""
    level: Annotated[float, "0.5..0.999"]
    """Confidence level of the intervals."""
    out: Path
    """Folder for compare.json and compare.html."""


def run_evaluate(config: Config, overrides: Overrides) -> RunResult:
    """Measure, print, write."""
    directory = output_dir(config)
    refuse_evaluation(directory, key="out" if config.out is None else f"out={config.out}")
    model: Any = open_model(config)  # first: it is read in a second, while a set may have to be drawn or parsed
    device = "cpu" if isinstance(model, RuntimeModel) and config.device == "auto" else torch_device(config.device)
    if device == "cpu":
        keep_freed_memory()
    source = open_split(config, config.split, requested=labels_of(model))
    for line in source.warnings:
        print(f"warning: {line}")
    source = decoded(config, source, lost="they are left out, and their objects are not counted")
    if config.max_images is not None:
        print(f"max_images={config.max_images}: measured on only {len(source)} images; max_images=null takes all")
    size = as_size(config.image_size)
    preprocess = model.preprocess if size is None else model.preprocess.fitted(size)
    dataset = EvalSet(source, preprocess)
    maps = directory / "class_maps" if config.class_maps else None
    if maps is not None:
        refuse_masks(maps, source, key=f"out={directory}")
    by_head = evaluators(model, dataset, backend=config.evaluation.backend, class_maps=maps)
    for evaluator in by_head.values():
        if isinstance(evaluator, (DetectionEvaluator, SemanticEvaluator)) and not evaluator.classes.exact:
            print(evaluator.classes)
    settings = {key: config.get(key) for key in POSTPROCESS if config.get(key) is not None}
    predict = predict_function(
        model,
        device=device,
        precision=config.precision,
        postprocess=settings,
        semantic=semantic_inference(config),
    )
    result = evaluate(
        predict,
        dataset,
        evaluators=by_head,
        batch_size=config.batch_size,
        workers=worker_count(config.workers, cuda=device == "cuda"),
    )
    print_metrics(
        result.metrics, title=f"{config.model} on {source.name} {config.split}, {counted(result.images, 'image')}"
    )
    write_results(result, directory)
    write_report(
        directory,
        title=f"{_short(config.model)} on {source.name} {config.split}",
        result=result,
        evaluators=by_head,
        gallery=Gallery(dataset, lambda: predict),
        model=model,
        source=config.model if config.weights is None else config.weights,
        splits=[source],
        config=config.to_yaml(),
        page=config.report,
    )
    print(directory)
    return RunResult(directory, result.metrics)


def output_dir(config: Config) -> Path:
    """``out``; else ``evaluation/SPLIT`` in the run of the model, else ``evaluations/MODEL-DATA-SPLIT``."""
    if config.out is not None:
        return Path(config.out)
    if (directory := run_of(config.model)) is not None:
        return directory / "evaluation" / config.split
    return Path("evaluations") / f"{Path(config.model).stem}-{config.data.name}-{config.split}"


def _short(model: str) -> str:
    """A model's name; of a path its last part, and of a checkpoint the run before it."""
    path = Path(model)
    return f"{path.parent.parent.name}, {path.name}" if path.parent.name == CHECKPOINTS else path.name


def run_compare(config: Config, overrides: Overrides) -> RunResult:
    """Read both, resample, print, write."""
    out = Path(config.out)
    sweeps = [Path(name) for name in (config.first, config.second) if name is not None and is_sweep(Path(name))]
    if sweeps and config.second is None:
        return _compare_jobs(sweeps[0], out, config.level)
    if sweeps:
        raise UserError(
            f"{sweeps[0]}: holds the jobs of a sweep; compare it without a second folder, or name one of its jobs"
        )
    refuse_json(out / "compare.json", "first", "second", "differences", key=f"out={out}", what="of compare")
    names = (str(config.first), str(config.second))
    first, second = (read_statistics(find_statistics(Path(name))) for name in names)
    heads = shared_heads(first, second, names)
    differences: dict[str, Difference] = {}
    for head in heads:
        pair = (first.statistics[head], second.statistics[head])
        differences |= paired_difference(*pair, samples=config.samples, seed=config.seed, level=config.level)
    images = max(first.statistics[head].images for head in heads)
    Console().print(_table(differences, str(first.identity), names))
    split = str(first.identity)
    record = {
        "first": names[0],
        "second": names[1],
        "split": asdict(first.identity),
        "images": images,
        "samples": config.samples,
        "seed": config.seed,
        "level": config.level,
        "differences": {name: {**asdict(value), "difference": value.value} for name, value in differences.items()},
    }
    write_json(out / "compare.json", record, indent=2)
    page = comparison_page(names, split, differences, images=images, samples=config.samples, level=config.level)
    page.write(out / "compare.html")
    print(out)
    return RunResult(out, {name: value.value for name, value in differences.items()})


def _compare_jobs(directory: Path, out: Path, level: float) -> RunResult:
    """The table of a sweep."""
    refuse_json(out / "sweep.json", "jobs", "settings", key=f"out={out}", what="of a sweep")
    table = sweep_table(directory, level=level)
    write_table(table, out)
    print(to_markdown(table), end="")
    print(out)
    return RunResult(out, {setting.name: setting.spread.mean for setting in table.settings})


def _table(differences: dict[str, Difference], split: str, names: tuple[str, str]) -> Table:
    table = Table(
        title=Text(f"B − A on {split}", "bold"),
        caption=Text(f"A: {names[0]}\nB: {names[1]}"),
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    for column in ("metric", "A", "B", "B − A", "interval", "p", ""):
        table.add_column(column, justify="left" if column in ("metric", "") else "right", no_wrap=True)
    main = [name for name in differences if name in MAIN]
    surest = sorted((name for name in differences if name not in MAIN), key=lambda name: unsure(differences[name]))
    for name in [*main, *surest[:5]]:
        value = differences[name]
        table.add_row(
            Text(name),
            number(value.first),
            number(value.second),
            signed(value.value),
            f"{signed(value.low)} … {signed(value.high)}",
            number(value.p),
            conclusion(value)[0],
            end_section=name == main[-1],
        )
    return table


PREDICT_JOURNAL = "predictions.jsonl"
"""Which `predict` writes, and no other command."""


def refuse_evaluation(directory: Path, *, key: str) -> None:
    """The folder of `evaluate`.

    Raises:
        UserError: predict's results are there, or another ``metrics.json``.
    """
    if (directory / PREDICT_JOURNAL).exists():
        raise UserError(f"{key}: {directory} holds results of predict; name another folder")
    refuse_json(directory / "metrics.json", "images_per_second", key=key, what="metrics of an evaluation")


def refuse_masks(directory: Path, source: Any, *, key: str) -> None:
    """Segmentation maps in `directory`, named as the images are.

    Raises:
        UserError: a mask or an image of `source` lies there.
    """
    if not directory.is_dir():
        return
    theirs = directory.resolve()
    for record in source.records:
        for path in (record.image, record.mask):
            if path is not None and Path(path).resolve().parent.is_relative_to(theirs):
                raise UserError(f"{key}: {directory} holds {Path(path).name} of the data; name another folder")
