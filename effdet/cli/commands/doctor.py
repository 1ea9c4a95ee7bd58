"""``effdet doctor``: what is wrong with a data set, on the terminal, as a page and as JSON."""

from __future__ import annotations

import os
from pathlib import Path

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from effdet.cli.assemble import data_spec, described, input_size
from effdet.cli.config import Config
from effdet.cli.model_choice import chosen_model
from effdet.cli.models import check_name
from effdet.cli.outputs import refuse_json
from effdet.cli.overrides import Overrides
from effdet.doctor import CoverageSettings, Diagnosis, examine, page_of, repair
from effdet.doctor.repair import check_repairable
from effdet.model import ModelSpec
from effdet.weights import load
from heads.detection import AnchorSpec, DetectionLoss
from heads.structures import UserError

COLOURS = {"error": "red", "warning": "yellow", "note": "blue"}


def run(config: Config, overrides: Overrides) -> int:
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
    )
    console = Console()
    _print(console, found)
    found.write_json(out / "doctor.json")
    page = page_of(found).write(out / "doctor.html")
    if config.doctor.fix:
        made = repair(found, out / "repaired")
        for what, count in made.done.items():
            console.print(f"repaired: {count:,} {what}", highlight=False)
        console.print(
            f"{made.directory}: check it with effdet doctor data={spec.name} data.root={made.directory}",
            soft_wrap=True,
            markup=False,
            emoji=False,
            highlight=False,
        )
    console.print(str(page), soft_wrap=True, highlight=False, markup=False, emoji=False)
    return int(found.fails(config.doctor.fail_on))


def coverage_settings(config: Config) -> CoverageSettings:
    """The anchors, the matcher and the input of the detector that the configuration describes."""
    spec = _spec(config)
    head = spec.heads.get("detection")
    if head is None:
        raise UserError(f"model={config.model} has no detection head: doctor.anchors=false leaves its anchors out")
    return CoverageSettings(
        spec.preprocess,
        levels=tuple(int(level.removeprefix("P")) for level in head.options["levels"]),
        anchors=AnchorSpec(**head.options["anchors"]),
        matcher=(loss := DetectionLoss(**head.options.get("loss", {}))).matcher,
        threshold=loss.threshold,
    )


def _spec(config: Config) -> ModelSpec:
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
        f"{found.spec.name}: {found.images:,} images ({sizes or 'none read'}), {found.boxes:,} boxes, "
        f"{found.seconds:.1f} s",
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
