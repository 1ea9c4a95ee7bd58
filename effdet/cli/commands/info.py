"""``effdet info``: the models by name, one of them, or this machine."""

from __future__ import annotations

from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from backbones.spec import ExternalSpec
from effdet.cli.assemble import described, model_spec
from effdet.cli.config import Config, as_size
from effdet.cli.models import check_name
from effdet.cli.overrides import Overrides
from effdet.model import ModelSpec, read_model_file
from effdet.plugins import TARGET
from effdet.weights import load
from effdet.weights.info import ModelInfo, all_models, environment, model_info
from heads.structures import ClassTable

COMPOSING = ("task", "backbone", "neck", "head", "phi", "architecture", "image_size", "num_classes")


def run(config: Config, overrides: Overrides) -> None:
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
