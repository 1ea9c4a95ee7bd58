"""``effdet info`` describes models and machine, ``doctor`` a data set, ``replay`` a training step that was not finite."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from backbones.spec import ExternalSpec
from effdet.cli.config import Config, as_size
from effdet.cli.data import data_spec, unlabelled_images
from effdet.cli.models import check_name, chosen_model, described, input_size, model_spec, torch_device
from effdet.cli.overrides import Overrides
from effdet.cli.run import refuse_json
from effdet.doctor import CoverageSettings, Diagnosis, examine, page_of, repair
from effdet.doctor.repair import check_repairable
from effdet.files import refuse_overwriting
from effdet.model import ModelSpec, read_model_file
from effdet.plugins import TARGET
from effdet.plurals import counted
from effdet.training.image_grids import draw_training_batch
from effdet.training.replay import Bad, NonFiniteStep, described_model, read_nonfinite_step, replay
from effdet.training.replay import Replay as ReplayedStep
from effdet.weights import load
from effdet.weights.info import ModelInfo, all_models, environment, model_info
from heads.detection import AnchorSpec, DetectionLoss
from heads.structures import ClassTable, UserError

if TYPE_CHECKING:
    from effdet.cli.settings import Backbone, Data, Heads, ModelPath, Scaled


@dataclass(frozen=True, kw_only=True)
class DoctorKeys:
    """What the doctor does."""

    fail_on: Literal["error", "warning", "none"]
    """The lowest level of finding that makes the exit code 1."""
    fix: bool
    """true writes a repaired copy of the annotations, with links to the valid images, into out/repaired."""
    anchors: bool
    """false skips the check whether the model's anchors fit the boxes."""


@dataclass(frozen=True, kw_only=True)
class Doctor:
    """Keys of `effdet doctor`."""

    split: Literal["train", "val", "test"] | None
    """Only this split; null examines all, and finds images that are in two of them."""
    max_images: Annotated[int, "1.."] | None
    """Only the first N images of each split."""
    workers: Annotated[int, "0.."] | None
    """Processes that read images; null derives it from the CPU cores."""
    out: Path
    """Folder for doctor.html and doctor.json."""
    progress: bool
    """false draws no progress bar."""
    model: Path | None
    """Name of a published model, or a run, checkpoint or .safetensors file."""
    phi: Annotated[float, "-4..6"] | None
    """Continuous compound scaling; 0 is D0."""
    image_size: int | tuple[int, int] | None
    """Input in pixels, a side or [height, width]; null is that of the data or the model."""
    trust: bool
    """true reads a model file that holds pickled code, and imports the ``_target_`` classes that it names; such a file
    can run any code on this machine."""
    architecture: ModelPath
    doctor: DoctorKeys
    data: Data
    backbone: Scaled[Backbone]
    head: Heads


@dataclass(frozen=True, kw_only=True)
class Replay:
    """Keys of `effdet replay`."""

    file: Path | None
    """A step_N.pt of the folder nonfinite/ of a run; must be given."""
    device: Literal["auto", "cpu", "cuda", "mps"]
    """Where to compute; the run's own kind of device repeats its numbers best."""
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] | None
    """Arithmetic of the step; null is the run's."""
    trust: bool
    """Import the user-defined classes that the file names, which runs their code."""
    out: Path | None
    """Where to draw the step's images with their targets; null is beside the file."""


@dataclass(frozen=True, kw_only=True)
class Info:
    """Keys of `effdet info`."""

    model: Path | None
    """Name of a published model, or a run, checkpoint, .safetensors or model file (.json)."""
    phi: Annotated[float, "-4..6"] | None
    """Continuous compound scaling of backbone, neck, head and size together."""
    image_size: int | tuple[int, int] | None
    """Input in pixels, a side or [height, width]; null is the model's own."""
    num_classes: Annotated[int, "1.."] | None
    """Classes of a model that is composed; null is the published number."""
    env: bool
    """true describes versions and hardware."""
    trust: bool
    """true reads files that hold pickled code, and imports the ``_target_`` classes that they name; such a file can run
    any code on this machine."""
    architecture: ModelPath


COMPOSING = ("task", "backbone", "neck", "head", "phi", "architecture", "image_size", "num_classes")


def run_info(config: Config, overrides: Overrides) -> None:
    """Print what was asked for."""
    console = Console()
    if config.env:
        console.print(_environment())
    elif config.model is not None and config.model.endswith(".json"):
        console.print(_model_file(config))
    elif config.model is not None:
        console.print(describe(_spec(config)))
    elif any(override.key.partition(".")[0] in COMPOSING for override in overrides.items):
        console.print(describe(model_spec(config, num_classes=config.num_classes)))
    else:
        console.print(_models())
        console.print("input: side in pixels. files: of published weights (how many are on this disk).")
        console.print("effdet info NAME describes one; a task and a backbone make any other: effdet info backbone=b3")


def describe(spec: ModelSpec) -> Table:
    """One model in numbers."""
    info = model_info(spec)
    table = Table(title=Text(spec.name, "bold"), show_header=False)
    table.add_row("cost", f"{info.cost.parameters:,} parameters, {info.cost.gmacs:.2f} GMACs an image")
    table.add_row("input", f"{_sides(info.size)}, {spec.preprocess.resize}")
    backbone = spec.backbone
    if isinstance(backbone, ExternalSpec):
        table.add_row(
            "backbone", f"{backbone.name}, of {'timm' if backbone.kind == 'timm' else backbone.options[TARGET]}"
        )
    else:
        table.add_row("backbone", f"{backbone.name}, {backbone.padding} padding, attention {backbone.attention}")
    if (neck := spec.neck) is not None:
        levels = f"{neck.levels[0]}–{neck.levels[-1]}"
        table.add_row("neck", f"{neck.kind} {neck.channels} × {neck.repeats}, {neck.fusion} fusion, {levels}")
    for name, classes in spec.classes.items():
        table.add_row(f"classes of {name}", Text(_named(classes)))
    for row in info.weights:
        result = f"{row.result.metric} {row.result.value:g}, " if row.result is not None else ""
        here = "on this disk" if row.cached() is not None else "not fetched"
        table.add_row("weights", f"{row.name} ({result}{row.licence}; {here})")
    return table


def _named(classes: ClassTable) -> str:
    """How many, and the first of them; a model without weights has numbers for names, which say nothing."""
    known = [str(label) for label in classes.names if label is not None]
    if classes == ClassTable.unnamed(len(classes)):
        return f"{len(known)}, without names until weights or data bring them"
    return f"{len(known)}: {', '.join(known[:6])}{', …' if len(known) > 6 else ''}"


def _model_file(config: Config) -> Table:
    """A model file, as the model of ``task=``, and how it was made."""
    table = describe(model_spec(config.replacing({"model": None, "architecture.path": config.model})))
    for key, value in read_model_file(config.model).made_by.items():
        table.add_row(Text(f"made by: {key}"), Text(str(value)))
    return table


def _spec(config: Config) -> ModelSpec:
    if Path(config.model).exists():
        return load(config.model, trust=config.trust).spec
    check_name(config.model)
    return described(
        config.model,
        image_size=as_size(config.image_size),
        num_classes=config.num_classes,
    )


def _models() -> Table:
    table = Table("model", "input", "params", "GMACs", "published", "files", box=box.SIMPLE_HEAD, pad_edge=False)
    for column in table.columns:
        column.no_wrap = True
    for column in (1, 2, 3, 4):
        table.columns[column].justify = "right"
    for info in all_models():
        table.add_row(
            info.name,
            _sides(info.size),
            f"{info.cost.parameters / 1e6:.1f} M",
            f"{info.cost.gmacs:.1f}",
            _result(info),
            _held(info),
        )
    return table


def _environment() -> Table:
    table = Table(title="environment", show_header=False, title_style="bold")
    for name, value in environment().items():
        table.add_row(name, Text(value))
    return table


def _result(info: ModelInfo) -> str:
    return "" if info.result is None else f"{info.result.metric} {info.result.value:g}"


def _held(info: ModelInfo) -> str:
    here = sum(row.cached() is not None for row in info.weights)
    return f"{len(info.weights)} ({here})" if info.weights else "none"


def _sides(size: tuple[int, int]) -> str:
    return str(size[0]) if size[0] == size[1] else f"{size[0]} × {size[1]}"


COLOURS = {"error": "red", "warning": "yellow", "note": "blue"}


def run_doctor(config: Config, overrides: Overrides) -> int:
    """Examine, print, write; 1 where there are findings of the level ``doctor.fail_on``."""
    out = Path(config.out)
    refuse_json(out / "doctor.json", "splits", "findings", "seconds", key=f"out={out}", what="of doctor")
    spec = data_spec(config, "train")
    if config.doctor.fix:
        check_repairable(spec.name, out / "repaired")
    found = examine(
        spec,
        split=config.split,
        coverage=coverage_settings(config) if config.doctor.anchors else None,
        workers=config.workers,
        progress=config.progress,
        unlabelled=[] if config.split in ("val", "test") else unlabelled_images(config),
    )
    console = Console()
    _print(console, found)
    found.write_json(out / "doctor.json")
    page = page_of(found).write(out / "doctor.html")
    if config.doctor.fix:
        made = repair(found, out / "repaired")
        for what, count in made.done.items():
            console.print(f"repaired: {count:,} {what}", highlight=False)
        print(f"{made.directory}: check it with effdet doctor data={spec.name} data.root={made.directory}")
    print(page)
    return int(found.fails(config.doctor.fail_on))


def coverage_settings(config: Config) -> CoverageSettings:
    """The anchors, the matcher and the input of the detector that the configuration describes."""
    spec = _doctor_spec(config)
    head = spec.heads.get("detection")
    if head is None:
        raise UserError(f"model={config.model} has no detection head: doctor.anchors=false leaves its anchors out")
    return CoverageSettings(
        spec.preprocess,
        levels=tuple(int(level.removeprefix("P")) for level in head.options["levels"]),
        anchors=AnchorSpec(**head.options["anchors"]),
        matcher=(loss := DetectionLoss(**head.options.get("loss", {}))).matcher,
        threshold=loss.threshold,
        smallest=loss.tal_smallest,
    )


def _doctor_spec(config: Config) -> ModelSpec:
    if config.model is not None and Path(config.model).exists():
        spec = load(config.model, trust=config.trust).spec
        size = input_size(config)
        return spec if size is None else spec.replace(preprocess=spec.preprocess.fitted(size))
    if config.model is not None:
        check_name(config.model)
    composed = config.model is None
    return described(
        **chosen_model(config),
        task="detection" if composed else None,
        image_size=input_size(config),
        heads=config.get("head") if composed else None,
    )


def _print(console: Console, found: Diagnosis) -> None:
    issues = found.issues
    sizes = ", ".join(f"{split.name} {len(split.source):,}" for split in found.splits)
    console.print(
        f"{found.spec.name}: {counted(found.images, 'image', ',')} ({sizes or 'none read'}), "
        f"{counted(found.boxes, 'box', ',')}, {found.seconds:.1f} s",
        highlight=False,
    )
    for name in issues.issue_types():
        _print_kind(console, found, name)
    if found.coverage is not None:
        every = found.coverage.groups[0]
        console.print(
            f"anchors: {every.fitted:.1%} of {every.boxes:,} boxes have one that fits, {every.forced:.1%} only a forced "
            f"one, {every.lost:.1%} none ({found.coverage.title})",
            highlight=False,
        )
    counts = [(issues.total(level), level) for level in COLOURS]
    shown = ", ".join(f"[{COLOURS[level]}]{count:,} {level}{'' if count == 1 else 's'}[/]" for count, level in counts)
    console.print(shown, highlight=False)


def _print_kind(console: Console, found: Diagnosis, name: str) -> None:
    """How many, the first of them, and what to do."""
    issues = found.issues
    kind, first = issues.kind(name), issues.of(name)[0]
    count = f"{issues.counts[name]:,} × " if issues.counts[name] > 1 else ""
    console.print(f"[{COLOURS[kind.level]}]{kind.level:<8}[/]{count}[bold]{name}[/]: {kind.title}", highlight=False)
    root = "" if found.spec.root is None else f"{found.spec.root}{os.sep}"
    for line in (str(first).replace(root, "") if root else str(first), f"→ {kind.advice}"):
        console.print(Padding(Text(line), (0, 0, 0, 8)))


SHOWN = 5


def run_replay(config: Config, overrides: Overrides) -> int:
    """Print what was found, draw the images; 0 where the step is not finite here either."""
    if config.out is not None:
        refuse_overwriting([config.out], [config.file], key=f"out={config.out}")
    device = torch_device(config.device)
    dump = read_nonfinite_step(config.file)
    precision = config.precision or dump.precision
    _describe(dump, f"{precision} on {device}")
    model = described_model(dump, trust=config.trust)
    found = replay(dump, model, device=device, precision=precision)
    _report(found)
    image = Path(config.out) if config.out is not None else dump.path.with_suffix(".jpg")
    print(draw_training_batch(dump.batches[0].batch, model, image))
    return 1 if found.first is None else 0


def _describe(dump: NonFiniteStep, where: str) -> None:
    images = ", ".join(str(number) for item in dump.batches for number in item.batch.indices.tolist())
    of = f" of process {dump.rank} of {dump.processes}" if dump.processes > 1 else ""
    print(
        f"step {dump.step}{of}: {dump.spec.get('name')}, {counted(len(dump.batches), 'batch')}, "
        f"images {images} of the train split"
    )
    print(f"the run saw loss {dump.loss:g} and gradient norm {dump.grad_norm:g} in {dump.precision}")
    if dump.extra:
        print(f"its loss had {', '.join(dump.extra)} too, which are not computed again: they need more than this file")
    print(f"again, {where}:")


def _report(found: ReplayedStep) -> None:
    for title, places in (
        ("weights before the step", found.weights),
        ("outputs", found.forward),
        ("gradients on their way back", found.backward),
        ("gradients of weights", found.gradients),
    ):
        _list(title, places)
    terms = ", ".join(f"{name} {value:g}" for name, value in found.terms.items())
    print(f"  loss: {terms}; gradient norm {found.norm:g}")
    if found.first is not None:
        print(f"first: {found.first}")
    else:
        print("the step is finite here: another device, another precision, or boxes of the other processes made it bad")


def _list(title: str, places: tuple[Bad, ...]) -> None:
    if not places:
        print(f"  {title}: all finite")
        return
    print(f"  {title}: {len(places)} places are not finite")
    for place in places[:SHOWN]:
        print(f"    {place}")
    if len(places) > SHOWN:
        print(f"    … and {len(places) - SHOWN} more")
