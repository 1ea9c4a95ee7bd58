"""Combinations of overrides that make no sense, found before anything is imported.

What single keys may be is said in ``conf/`` and checked by :mod:`effdet.cli.compose`. Here: a data set that does not label
what the task needs (both say so in their own files), and overrides that contradict each other.
"""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

from effdet.cli.config import Config
from effdet.cli.errors import ConfigError, did_you_mean
from effdet.cli.overrides import Overrides

MAX_SIDE = 8192
"""Pixels; a larger input is taken for a typo."""
MIN_SIDE = 32
"""Pixels; the backbone's last stride."""


def check(command: str, config: Config, overrides: Overrides) -> None:
    """Refuse what `command` cannot run.

    Raises:
        ConfigError: with a line for each contradiction.
    """
    problems = [
        *_required(config, command),
        *_labels(config),
        *_model(config, overrides),
        *_size(config),
        *_files(config),
    ]
    if problems:
        raise ConfigError(problems)


WAYS = ("model", "phi", "architecture.path")
"""Keys that choose the model, beside the group ``backbone``."""

REQUIRED = {
    "compare": {"first": "a run folder, or a folder that evaluate wrote", "second": "the other one"},
    "explain": {"model": "runs/x, a checkpoint, or a name of `effdet info`"},
    "evaluate": {"model": "runs/x, a checkpoint, or a name of `effdet info`"},
    "export": {"model": "runs/x, a checkpoint, or a name of `effdet info`"},
    "predict": {
        "model": "runs/x, a checkpoint, or a name of `effdet info`",
        "source": "an image, a folder, a pattern, a list, a video, a camera or a stream",
    },
    "shards": {"out": "the folder to write to"},
    "replay": {"file": "a step_N.pt of the folder nonfinite/ of a run"},
    "serve": {"model": "runs/x, a checkpoint, or a name of `effdet info`"},
}
"""Keys without a default that could make sense, by command."""


def _required(config: Config, command: str) -> list[str]:
    requested = REQUIRED.get(command, {})
    if command == "compare" and config.first is not None:
        from effdet.cli.job import is_sweep

        if is_sweep(Path(config.first)):
            return []  # its jobs are compared with each other
    return [f"{key}=…: must be given: {what}" for key, what in requested.items() if config.get(key) is None]


def _labels(config: Config) -> list[str]:
    """``task.needs`` within ``data.labels``."""
    needs, labels = config.get("task.needs"), config.get("data.labels")
    if needs is None or labels is None:
        return []
    missing = [name for name in needs if name not in labels]
    if not missing:
        return []
    data = config.choices.get("data", config.get("data.name"))
    return [
        f"task={config.get('task.name')} data={data}: the task needs {', '.join(missing)}, and this data labels "
        f"{', '.join(labels) or 'nothing'}; choose another task or another data set"
    ]


def resolved(config: Config, overrides: Overrides) -> Config:
    """`config` with the model chosen once: an override for it beats an experiment's other way of choosing."""
    named = [way for way in (*WAYS, "backbone") if overrides.get(way) is not None]
    if len(named) != 1:
        return config
    others = [way for way in WAYS if way not in named and config.get(way) is not None]
    return config.replacing(dict.fromkeys(others)) if others else config


def _model(config: Config, overrides: Overrides) -> list[str]:
    """The model is chosen once: by its name, by phi, by a model file, or by its backbone."""
    chosen = [f"{key}={config.get(key)}" for key in WAYS if config.get(key) is not None]
    if chosen and config.get("backbone") is not None and (backbone := overrides.get("backbone")) is not None:
        chosen.append(f"backbone={backbone}")
    if len(chosen) > 1:
        return [f"{' '.join(chosen)}: each chooses the model; give one of them"]
    if not chosen and config.get("backbone.library") is not None:
        return _timm(config.get("backbone.library"), config.get("backbone.name"))
    if not chosen and config.get("backbone.name") == "file" and config.get("backbone.path") is None:
        return ["backbone=file: says not which; give backbone.path=FILE too, a model file of scale or search"]
    return []


def _timm(library: str, name: str | None) -> list[str]:
    """Looked up in timm's source: its import takes many seconds."""
    if library != "timm":
        return [
            f"backbone.library={library}: must be timm; a class of yours is named by backbone._target_=package.module.Name"
        ]
    if name is None:
        return ["backbone=timm: says not which; give backbone.name=NAME too, such as convnext_atto"]
    found = importlib.util.find_spec("timm")
    if found is None or found.origin is None:
        return ["backbone=timm: timm is not installed: pip install 'effdet-lightning[timm]'"]
    plain = name.partition(".")[0]
    sources = [path.read_text("utf-8") for path in sorted((Path(found.origin).parent / "models").glob("*.py"))]
    if any(f"def {plain}(" in text or f"'{plain}'" in text for text in sources):
        return []  # a name's tag, and whether its network has the maps that are needed, is found out by timm
    known = [match for text in sources for match in re.findall(r"^@register_model\s+def (\w+)\(", text, re.MULTILINE)]
    return [f"backbone.name={name}: timm has no such network{did_you_mean(plain, known)}"]


def _size(config: Config) -> list[str]:
    size = config.get("image_size")
    sides = size if isinstance(size, list) else [] if size is None else [size]
    shown = str(size).replace(" ", "")
    if any(side < MIN_SIDE for side in sides):
        return [f"image_size={shown}: a side must be at least {MIN_SIDE} pixels"]
    if any(side > MAX_SIDE for side in sides):
        return [f"image_size={shown}: a side may be at most {MAX_SIDE} pixels"]
    return []


def _files(config: Config) -> list[str]:
    """Paths that must be there and are named by the user."""
    problems = []
    keys = ["data.root", "data.train_images", "data.train_annotations", "data.val_images", "data.val_annotations",
            "data.test_images", "data.test_annotations"]  # fmt: skip
    if config.get("resume") is None:  # a run that goes on reads its model from its checkpoint
        keys += ["architecture.path", "backbone.path"]
    for key in keys:
        value = config.get(key)
        if isinstance(value, str) and not Path(value).exists():
            near = _existing(Path(value))
            problems.append(f"{key}={value}: no such file or folder{near}")
    return problems


def _existing(path: Path) -> str:
    """Where the path stops being true."""
    parent = next((parent for parent in path.parents if parent.exists()), None)
    if parent is None or parent == Path("."):
        return f" (looked in {Path.cwd()})"
    return f" ({parent} is there)"
