"""The recipe of a training's configuration: what each ``auto`` becomes, once data and weights are known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields
from typing import Any

import numpy as np
import yaml

from backbones.spec import ExternalSpec
from effdet.cli.config import Config
from effdet.cli.models import input_size, requested_labels
from effdet.cli.run import is_first
from effdet.cli.schema import choices, conf_dir, text_of
from effdet.data import AugmentSpec, Dataset
from effdet.model import VisionModel
from effdet.plugins import TARGET
from effdet.plurals import counted
from effdet.tasks import kits_of
from effdet.training.recipe import Facts, Recipe, choose, paper
from effdet.training.settings import OptimizerSettings
from effdet.training.starting import Start

AUTO = "auto"
_DEFAULTS: Mapping[str, type] = {"optimizer": OptimizerSettings, "augment": AugmentSpec}


def provisional(config: Config) -> Config:
    """`config` with the recipe of a usual set: what can be checked before data and weights are opened."""
    facts = Facts(usual_epochs=config.get("data.default_epochs"))
    return filled(config, choose(config.get("recipe", AUTO), facts))[0]


def resumed(config: Config) -> Config:
    """`config` of a run that goes on: an ``auto`` is left only where a key is younger than the run, and changes nothing.

    But for ``data.repeat_threshold``: there it is a rule of its own, which the run follows to its end.
    """
    chosen = paper(Facts(usual_epochs=config.get("data.default_epochs")))
    kept = {key: choice for key, choice in chosen.items() if key != "data.repeat_threshold"}
    return filled(config, kept, presets=False)[0]


def with_recipe(config: Config, facts: Facts) -> tuple[Config, Recipe]:
    """`config` without any ``auto`` of the recipe, and the choices that were made."""
    return filled(config, choose(config.get("recipe", AUTO), facts))


def block(name: str, facts: Facts, made: Recipe) -> str:
    """What is printed of the recipe `name`: a line for each choice that was made."""
    width = max((len(f"{key}={_shown(choice.value)}") for key, choice in made.items()), default=0)
    lines = [f"  {f'{key}={_shown(choice.value)}':<{width}}  {choice.reason}" for key, choice in made.items()]
    return "\n".join([f"recipe={name}: {_described(facts)}", *lines])


def filled(config: Config, recipe: Recipe, *, presets: bool = True) -> tuple[Config, Recipe]:
    """`config` with every ``auto`` that is the recipe's replaced, and the choices that were used.

    A key of a group takes what the recipe says of it, else the value in the file that the recipe names, else what the
    settings declare. Where the user names another optimiser, its own file holds.

    Args:
        presets: False leaves out the files.
    """
    values: dict[str, Any] = {}
    used: Recipe = {}
    for group, kind in _DEFAULTS.items():
        open_keys = [key for key, value in (config.get(group) or {}).items() if value == AUTO]
        if not open_keys:
            continue
        preset, named = recipe[group], config.get(f"{group}.name")
        own = group == "optimizer" and named not in (AUTO, preset.value) and config.get(f"{group}.{TARGET}") is None
        file = _file(group, str(named) if own else preset.value) if presets else {}
        if not own:
            used[group] = preset
        for key in open_keys:
            choice = None if own or _said(config, f"{group}.{key}") else recipe.get(f"{group}.{key}")
            if choice is not None:
                values[f"{group}.{key}"] = choice.value
                used[f"{group}.{key}"] = choice
            else:
                values[f"{group}.{key}"] = file.get(key, _default(kind, key))
    flat = config.flat()
    for key, choice in recipe.items():
        # Options of the network are null where the recipe has the choice, as they are where the scaling has it.
        group, unset = key.partition(".")[0], None if key.startswith(("head.", "backbone.")) else AUTO
        if group not in _DEFAULTS and flat.get(key, "") == unset:
            values[key] = choice.value
            used[key] = choice
    return config.replacing(values), {key: used[key] for key in recipe if key in used}


INSTEAD = {"optimizer.warmup_steps": "optimizer.warmup_epochs"}
"""Keys by which a user may say what a choice says."""


def _said(config: Config, key: str) -> bool:
    """The user has said by another key what the recipe would say by this one."""
    other = INSTEAD.get(key)
    return other is not None and config.get(other) != AUTO


def _file(group: str, name: str) -> Mapping[str, Any]:
    """The values of ``conf/GROUP/NAME.yaml``; none where there is no such file."""
    path = choices(group, conf_dir()).get(name)
    return {} if path is None else yaml.safe_load(text_of(path))


def _default(kind: type, key: str) -> Any:
    field = next(field for field in fields(kind) if field.name == key)
    assert field.default is not MISSING, f"{kind.__name__}.{key} has a default"
    return list(field.default) if isinstance(field.default, tuple) else field.default


MOST_PIXELS = 512 * 1024
"""Of the canvas of a segmenter that follows the images."""


def with_own_size(config: Config, train: Dataset) -> Config:
    """`config` with the canvas of a segmenter where the user leaves it open: the median size of the images.

    A class map is as fine as its canvas. Larger images are scaled down to :data:`MOST_PIXELS`, and sides are even.
    """
    free = input_size(config) is None and config.model is None and config.get("architecture.path") is None
    if not free or config.get("recipe") != AUTO or requested_labels(config) != ("semantic",) or not len(train):
        return config
    height, width = np.median(train.records.sizes, axis=0)
    factor = min((MOST_PIXELS / (height * width)) ** 0.5, 1.0)
    size = [max(round(side * factor / 2) * 2, 32) for side in (height, width)]
    if is_first():
        print(f"recipe={AUTO}: image_size=[{size[0]},{size[1]}], the images' median size")
    return config.replacing({"image_size": size})


def facts_of(config: Config, train: Dataset, model: VisionModel, start: Start, *, processes: int) -> Facts:
    """What the recipe of this training depends on."""
    kits = kits_of(model)
    labels = {kit.label for kit in kits.values()}
    task = "detection" if "boxes" in labels else "segmentation" if "semantic" in labels else "classification"
    deciding = [name for name, kit in kits.items() if kit.label == "boxes"] or list(kits)
    accumulate = config.get("trainer.accumulate_grad_batches")
    epochs, steps, size = (config.get(key) for key in ("trainer.max_epochs", "trainer.max_steps", "batch_size"))
    return Facts(
        task=task,
        images=len(train),
        weights="backbone" if task == "classification" and start.scope == "model" else start.scope,  # type: ignore[arg-type]
        known=any(start.carried.get(name) for name in deciding),
        new=any(start.fresh.get(name) or start.is_fresh(name) for name in deciding),
        batch_size=size if isinstance(size, int) else None,
        batches=processes * (accumulate or 1),
        epochs=None if epochs == AUTO else -1 if epochs is None else epochs,
        steps=None if steps in (None, -1) else steps,
        usual_epochs=config.get("data.default_epochs"),
        external=isinstance(model.spec.backbone, ExternalSpec),
        named=config.model is not None or config.get("architecture.path") is not None,
    )


_WEIGHTS = {"none": "random weights", "backbone": "weights of a backbone", "model": "weights of a model"}


def _described(facts: Facts) -> str:
    known = ""
    if facts.weights == "model":
        known = ", which " + (
            "lack some of the classes"
            if facts.known and facts.new
            else "lack the classes"
            if facts.new
            else "know the classes"
        )
    return f"{facts.task}, {counted(facts.images, 'training image', ',')}, {_WEIGHTS[facts.weights]}{known}"


def _shown(value: Any) -> str:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return f"[{','.join(map(_shown, value))}]"
    return (
        "null"
        if value is None
        else str(value).lower()
        if isinstance(value, bool)
        else f"{value:g}"
        if isinstance(value, float)
        else str(value)
    )
