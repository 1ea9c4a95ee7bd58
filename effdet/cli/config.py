"""A composed configuration: plain values that cannot be changed; and combinations of them that make no sense.

What single keys may be is checked by :mod:`effdet.cli.compose`. :func:`check` finds, before anything is imported, a data set
that does not label what the task needs, and overrides that contradict each other.
"""

from __future__ import annotations

import copy
import importlib.util
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from effdet.addresses import is_address, shown_values, without_credentials
from effdet.cli.overrides import ConfigError, Overrides, did_you_mean
from effdet.renamed import renew


class Config:
    """Nested values, resolved and literal (``${…}`` in a path is just text by now).

    Args:
        values: the nested mapping; copied.
        choices: which file each group was filled from, ``{"data": "coco", "head": ["detection"]}``.
        overrides: what Hydra composed it with.
    """

    def __init__(
        self, values: Mapping[str, Any], choices: Mapping[str, Any] | None = None, overrides: Iterable[str] = ()
    ) -> None:
        self._values = copy.deepcopy(dict(values))
        self._choices = dict(choices or {})
        self._overrides = tuple(overrides)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        try:
            value = self._values[name]
        except KeyError:
            raise AttributeError(f"the configuration has no key {name!r}") from None
        return Config(value) if isinstance(value, dict) else copy.copy(value)

    def __repr__(self) -> str:
        return f"Config({self._values!r})"

    @property
    def overrides(self) -> tuple[str, ...]:
        return self._overrides

    @property
    def choices(self) -> dict[str, Any]:
        return dict(self._choices)

    def get(self, key: str, default: Any = None) -> Any:
        """The value of a dotted `key`, a section as a dict; `default` where it is absent."""
        value: Any = self._values
        for part in key.split("."):
            if not isinstance(value, dict) or part not in value:
                return default
            value = value[part]
        return copy.deepcopy(value)

    def flat(self) -> dict[str, Any]:
        """``{dotted key: value}`` of every leaf, in the order of the files."""
        return dict(leaves(self._values))

    def replacing(self, values: Mapping[str, Any]) -> Config:
        """A copy with the leaves of `values` (dotted keys) set."""
        nested = copy.deepcopy(self._values)
        for key, value in values.items():
            *path, last = key.split(".")
            node = nested
            for part in path:
                if not isinstance(node.get(part), dict):
                    node[part] = {}  # a section in place of a value: a schedule of the user's own for one of ours
                node = node[part]
            node[last] = copy.deepcopy(value)
        return Config(nested, self._choices)

    def without(self, keys: Iterable[str]) -> Config:
        """A copy without the leaves `keys` (dotted), and without the sections that they leave empty."""
        nested = copy.deepcopy(self._values)
        for key in keys:
            *path, last = key.split(".")
            nodes = [nested]
            for part in path:
                nodes.append(nodes[-1][part])
            del nodes[-1][last]
            for depth in range(len(path), 0, -1):
                if not nodes[depth]:
                    del nodes[depth - 1][path[depth - 1]]
        return Config(nested, self._choices)

    @property
    def has_addresses(self) -> bool:
        return any(isinstance(value, str) and is_address(value) for value in self.flat().values())

    def restored(self, asked: Config) -> Config:
        """A copy of this saved configuration with the credentials that `asked` has for its addresses."""
        own, passed = self.flat(), asked.flat()
        pairs = ((key, value, passed.get(key)) for key, value in own.items())
        return self.replacing(
            {key: new for key, value, new in pairs if isinstance(new, str) and value == without_credentials(new) != new}
        )

    def to_dict(self) -> dict[str, Any]:
        return copy.deepcopy(self._values)

    def to_yaml(self) -> str:
        """As it is shown and kept: addresses without their credentials."""
        return yaml.safe_dump(shown_values(self._values), sort_keys=False, allow_unicode=True, width=10_000)

    @classmethod
    def from_yaml(cls, text: str, *, origin: str | Path = "config.yaml") -> Config:
        """Reads what :meth:`to_yaml` wrote. Nothing in it is interpolated."""
        try:
            values = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise ConfigError([f"{origin}: not valid YAML: {' '.join(str(error).split())}"]) from None
        if not isinstance(values, dict):
            raise ConfigError([f"{origin}: not a saved configuration"])
        return cls(renew(values))


def leaves(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted key, value) of each leaf; an empty mapping is a leaf."""
    for name, value in values.items():
        key = f"{prefix}.{name}" if prefix else str(name)
        if isinstance(value, dict) and value:
            yield from leaves(value, key)
        else:
            yield key, value


def as_size(size: Any) -> int | tuple[int, int] | None:
    """An ``image_size`` as it is written, a side or [height, width] in pixels, as functions take it."""
    return (size[0], size[1]) if isinstance(size, list) else size


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
        *_augment(config),
        *(_scale(config) if command == "scale" else ()),
    ]
    if problems:
        raise ConfigError(problems)


def _augment(config: Config) -> list[str]:
    """``augment.partners=batch`` within a batch of several images; one key that chooses the canvas."""
    problems = []
    span, stages = config.get("augment.multi_scale"), config.get("progressive.stages", 1)
    if span not in (None, "auto") and stages > 1 and config.get("progressive.size") is not None:
        problems.append(
            f"augment.multi_scale={span} progressive.size={config.get('progressive.size')}: both choose the canvas; give one "
            "of them"
        )
    draws = any(config.get(f"augment.{key}") not in (None, 0) for key in ("mosaic", "mixup"))
    if config.get("augment.partners") == "batch" and config.get("batch_size") == 1 and draws:
        problems.append(
            "augment.partners=batch batch_size=1: a batch of one image has no partners; take a batch of at least 4, or "
            "augment.partners=set"
        )
    return problems


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
        from effdet.cli.sweep import is_sweep

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


BUDGETS = ("fit_latency_ms", "fit_memory_mb", "fit_gmacs")
COEFFICIENTS = ("alpha", "beta", "gamma")


def _scale(config: Config) -> list[str]:
    """One thing is asked of `scale`, and wholly."""
    budgets, coefficients = _passed(config, BUDGETS), _passed(config, COEFFICIENTS)
    others = [*_passed(config, ("phi", *COEFFICIENTS)), *(key for key in ("grid", "compare") if config.get(key))]
    problems = []
    if len(budgets) > 1:
        problems.append(f"{_shown(config, budgets)}: each is a budget; give one of them")
    if budgets and others:
        problems.append(f"{_shown(config, [*budgets[:1], *others])}: a budget chooses phi by itself; give one of them")
    if coefficients and len(coefficients) < len(COEFFICIENTS):
        missing = [key for key in COEFFICIENTS if key not in coefficients]
        problems.append(f"{_shown(config, coefficients)}: {' and '.join(missing)} must be given too")
    if config.grid and coefficients:
        problems.append(f"grid=true {_shown(config, coefficients)}: the grid finds coefficients; give one of them")
    if config.compare and not config.grid and not coefficients:
        problems.append("compare=true: of which coefficients? Give alpha=, beta= and gamma=, or grid=true to find them")
    if config.base_phi is not None and not (config.grid or coefficients):
        problems.append(f"base_phi={config.base_phi:g}: is the base of coefficients; for one model write phi=")
    if coefficients and not (config.grid or config.compare) and config.phi is None:
        problems.append(f"{_shown(config, coefficients)}: for how many steps? Give phi= too, or compare=true")
    if not budgets and not others:
        problems.append(f"nothing to do: give one of {', '.join(f'{key}=' for key in BUDGETS)}, phi= or grid=true")
    return problems


def _passed(config: Config, keys: tuple[str, ...]) -> list[str]:
    return [key for key in keys if config.get(key) is not None]


def _shown(config: Config, keys: list[str]) -> str:
    return " ".join(f"{key}={str(config.get(key)).lower()}" for key in keys)


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
