"""``effdet info``: the models by name, one of them, or this machine."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from effdet.cli.assemble import described, model_spec
from effdet.cli.config import Config
from effdet.cli.open_model import check_name
from effdet.cli.words import Words
from effdet.model import ModelSpec, build, names, spec_for
from effdet.weights import load
from effdet.weights import names as weight_names

DISTRIBUTIONS = ("effdet-lightning", "torch", "torchvision", "lightning", "hydra-core", "omegaconf", "albumentations",
                 "numpy", "pillow", "pycocotools", "hotcoco", "faster-coco-eval", "timm")  # fmt: skip
COMPOSING = ("task", "backbone", "neck", "head", "phi", "image_size", "num_classes")


def run(config: Config, words: Words) -> None:
    """Print what was asked for."""
    console = Console()
    if config.env:
        console.print(_environment())
    elif config.model is not None:
        console.print(_model(config))
    elif any(word.key.partition(".")[0] in COMPOSING for word in words.words):
        console.print(describe(model_spec(config, num_classes=config.num_classes)))
    else:
        console.print(_models())
        console.print("effdet info NAME describes one; a backbone with a task makes any other: effdet info backbone=b3")


def _models() -> Table:
    """Every name, with its input size and what its weights are published to reach."""
    table = Table("model", "task", "input", "published result", "weights")
    for name in names():
        spec = spec_for(name)
        rows = weight_names.for_model(name)
        best = next((row.result for row in rows if row.result is not None), None)
        result = "" if best is None else f"{best.metric} {best.value:g}"
        here = sum(row.cached() is not None for row in rows)
        held = f"{len(rows)}, {here} on this disk" if rows else "none"
        table.add_row(name, ", ".join(spec.heads), _sides(spec), result, held)
    return table


def _model(config: Config) -> Table:
    if Path(config.model).exists():
        return describe(load(config.model, trust=config.trust).spec)
    check_name(config.model)
    return describe(described(config.model, image_size=_size(config.image_size), num_classes=config.num_classes))


def describe(spec: ModelSpec) -> Table:
    """One model in numbers."""
    model = build(spec)
    table = Table(title=spec.name, show_header=False, title_style="bold")
    parts = {
        "backbone": model.backbone,
        "neck": model.neck,
        **{f"head {name}": head for name, head in model.heads.items()},
    }
    table.add_row("parameters", f"{sum(parameter.numel() for parameter in model.parameters()):,}")
    for name, part in parts.items():
        if part is not None:
            table.add_row(f"  {name}", f"{sum(parameter.numel() for parameter in part.parameters()):,}")
    table.add_row("input", f"{_sides(spec)}, {spec.preprocess.resize}")
    table.add_row(
        "backbone", f"{spec.backbone.name}, {spec.backbone.padding} padding, attention {spec.backbone.attention}"
    )
    if spec.neck is not None:
        neck = spec.neck
        levels = f"{neck.levels[0]}–{neck.levels[-1]}"
        table.add_row("neck", f"{neck.kind} {neck.channels} × {neck.repeats}, {neck.fusion} fusion, {levels}")
    for name, classes in spec.classes.items():
        known = [str(name) for name in classes.names if name is not None]
        table.add_row(f"classes of {name}", f"{len(known)}: {', '.join(known[:6])}{', …' if len(known) > 6 else ''}")
    for row in weight_names.for_model(spec.name):
        result = f", {row.result.metric} {row.result.value:g}" if row.result is not None else ""
        here = "on this disk" if row.cached() is not None else "not fetched"
        table.add_row("weights", f"{row.name} ({row.licence}{result}; {here})")
    return table


def _environment() -> Table:
    import torch

    table = Table(title="environment", show_header=False, title_style="bold")
    table.add_row("python", f"{sys.version.split()[0]} on {platform.platform()}")
    for name in DISTRIBUTIONS:
        try:
            table.add_row(name, importlib.metadata.version(name))
        except importlib.metadata.PackageNotFoundError:
            table.add_row(name, "not installed")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    table.add_row(
        "CPU", f"{platform.processor() or platform.machine()}, {cores} cores, {torch.get_num_threads()} threads"
    )
    for index in range(torch.cuda.device_count()):
        card = torch.cuda.get_device_properties(index)
        table.add_row(f"GPU {index}", f"{card.name}, {card.total_memory / 2**30:.0f} GiB, CUDA {torch.version.cuda}")
    return table


def _sides(spec: ModelSpec) -> str:
    height, width = spec.preprocess.size
    return f"{height} × {width}"


def _size(size: int | list[int] | None) -> int | tuple[int, int] | None:
    return (size[0], size[1]) if isinstance(size, list) else size
