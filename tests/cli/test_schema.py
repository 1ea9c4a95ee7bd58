"""What is read from the settings' source text, against the classes themselves, the YAML files and the reference page."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import math
import runpy
from typing import Any

import pytest

from backbones.spec import BackboneSpec
from effdet.cli import MODULES, schema
from effdet.cli.app import COMMANDS
from effdet.cli.schema import Field, KeyFile, conf_dir, fields_of, read_keys
from effdet.data.augment import AugmentSpec
from effdet.data.progressive import Progression
from effdet.data.spec import DataSpec
from effdet.export.settings import ExportSettings
from effdet.necks.pyramid import NeckSpec
from effdet.preprocess import Preprocess
from effdet.search.architecture_search import SearchSettings
from effdet.search.scaling_study import ScaleSettings
from effdet.training.settings import (
    CheckpointSettings,
    DistillationSettings,
    EarlyStoppingSettings,
    NonFiniteSettings,
    OptimizerSettings,
    PseudoLabelSettings,
)
from heads.detection.anchors import AnchorSpec
from heads.detection.losses import DetectionLoss
from heads.detection.postprocess import PostProcess
from heads.errors import UserError
from heads.fields import admits, describe, kinds_of
from heads.semantic_inference import SemanticInference
from heads.semantic_losses import SemanticLoss

PACKAGES = {
    kind.__name__: kind
    for kind in (
        AnchorSpec, AugmentSpec, BackboneSpec, CheckpointSettings, DataSpec, DetectionLoss, DistillationSettings,
        EarlyStoppingSettings, ExportSettings, NeckSpec, NonFiniteSettings, OptimizerSettings, PostProcess, Preprocess,
        Progression, PseudoLabelSettings, ScaleSettings, SearchSettings, SemanticInference, SemanticLoss,
    )
}  # fmt: skip
"""Settings of packages that keys come from."""
UNCHECKED = ("BackboneSpec", "ScaleSettings", "SearchSettings")
"""Classes that raise no UserError: the first has a test of its own, the others' values are checked by the command line."""


def declared(command: str) -> dict[str, Field]:
    """The fields of a command."""
    return schema.fields_of(MODULES[command], command.capitalize())


def files() -> list[KeyFile]:
    """Every configuration file of ours but experiments, whose keys are those of others."""
    found = []
    for path in sorted(conf_dir().rglob("*.yaml")):
        group = path.parent.relative_to(conf_dir()).as_posix()
        if group != "experiment":
            found.append(read_keys(path, "" if group == "." else group))
    return found


def test_every_command_has_its_class():
    for command in COMMANDS:
        assert dataclasses.is_dataclass(getattr(importlib.import_module(MODULES[command]), command.capitalize()))
        assert declared(command)


def test_settings_of_packages_are_those_that_are_compared_here(monkeypatch):
    reached = set()

    def recorded(module: str, name: str) -> dict[str, Any]:
        reached.add((module, name))
        return fields_of.__wrapped__(module, name)

    monkeypatch.setattr(schema, "fields_of", recorded)
    for command in COMMANDS:
        declared(command)
    modules = {(module, name) for module, name in reached if not module.startswith("effdet.cli")}
    own = {getattr(importlib.import_module(module), name) for module, name in modules}
    bases = {base for kind in PACKAGES.values() for base in kind.__mro__}
    assert own <= bases and set(PACKAGES.values()) <= own


def test_every_key_is_declared_and_explained():
    for file in files():
        for key in file.keys.values():
            assert key.kinds, f"{file.path}: {key.name}"
            assert key.meaning, f"{file.path}: {key.name}"


def test_values_are_what_is_declared():
    for file in files():
        for key in file.keys.values():
            if key.default in ("…",) or "${" in key.default:
                continue
            value = importlib.import_module("yaml").safe_load(key.default)
            assert key.kinds and (admits(key.kinds, value) or admits(key.kinds, str(value))), f"{file.path}: {key.name}"


def test_types_stand_in_one_place():
    """No comment of a YAML file opens with what a value may be."""
    types = ("int", "float", "bool", "str", "path", "null", "[int", "[float", "[str")
    for file in files():
        for key in file.keys.values():
            first = key.remark.partition(":")[0]
            assert not any(part.strip().split(" ")[0] in types for part in first.split("|")[1:]), (
                f"{file.path}: {key.name}"
            )
            assert first.split(" ")[0] not in types[:5], f"{file.path}: {key.name}"


@pytest.mark.parametrize("name", PACKAGES)
def test_the_text_says_what_the_class_has(name):
    """Names, defaults and annotations of the text are those of the imported class."""
    kind = PACKAGES[name]
    found = fields_of(kind.__module__, name)
    real = {field.name: field for field in dataclasses.fields(kind)}
    assert set(found) <= set(real)
    for key, field in found.items():
        annotation = real[key].type
        assert isinstance(annotation, str)
        assert field.kinds == kinds_of(ast.parse(annotation, mode="eval").body)
        if real[key].default is dataclasses.MISSING:
            continue
        try:
            default = field.default
        except LookupError:  # made by code
            continue
        assert default == real[key].default
        assert admits(field.kinds, default), key


def test_a_class_is_read_as_python_reads_it(monkeypatch, tmp_path):
    """Docstrings, methods, comments and long annotations between the fields; a field again in a derived class."""
    source = tmp_path / "effdet" / "made_up.py"
    source.parent.mkdir()
    source.write_text(
        '''
from effdet.other import (
    Elsewhere,
)

@dataclass(frozen=True)
class First:
    """Its fields.

    note: not one of them
    """

    a: int = 3  # a comment
    """One
    sentence; None is ``null``."""
    b: Literal[
        "x", "y"
    ] = "y"

    def method(self) -> int:
        """c: is none."""
        d: int = 4
        return d


class Second(First):
    a: Annotated[float, "0..1"] | None = None
    e: tuple[int, ...] = field(default_factory=tuple)
    """Last."""


class Third:
    inner: Scaled[Second]
'''
    )
    monkeypatch.setattr("effdet.cli.schema._ROOT", tmp_path)
    first, second, third = (fields_of("effdet.made_up", name) for name in ("First", "Second", "Third"))
    assert {key: (describe(field.kinds), field.text) for key, field in first.items()} == {
        "a": ("int", "One sentence; null is `null`."),
        "b": ("x | y", ""),
    }
    assert (first["a"].default, first["b"].default) == (3, "y")
    assert {key: (describe(field.kinds), field.text) for key, field in second.items()} == {
        "a": ("float 0…1 | null", ""),
        "b": ("x | y", ""),
        "e": ("[int, ...]", "Last."),
    }
    with pytest.raises(LookupError, match="not a literal"):
        second["e"].default  # noqa: B018
    assert [describe(field.kinds) for field in third.values()] == [
        "float 0…1 | null",
        "x | y | null",
        "[int, ...] | null",
    ]


def beyond(key: str, field: Any) -> list[Any]:
    """Numbers and overrides just outside of what a field may be."""
    found: list[Any] = []
    for kind in field.kinds:
        if kind.base in ("int", "float"):
            found += [kind.low - (0 if kind.above else 1), kind.high + (0 if kind.below else 1)]
            found += [kind.low] * kind.above + [kind.high] * kind.below
        if kind.base == "literal":
            found.append("no such override")
    return (
        [int(value) if value == int(value) else value for value in found if math.isfinite(value)]
        if all(isinstance(value, int | float) for value in found)
        else [value for value in found if isinstance(value, str)]
    )


BASE: dict[str, dict[str, Any]] = {"DataSpec": {"name": "coco"}, "Preprocess": {"size": (64, 64)}}


@pytest.mark.parametrize("name", [name for name in PACKAGES if name not in UNCHECKED])
def test_the_class_refuses_what_the_text_does(name):
    kind = PACKAGES[name]
    for key, field in fields_of(kind.__module__, name).items():
        for value in beyond(key, field):
            if admits(field.kinds, value):
                continue
            with pytest.raises(UserError, match="must be"):
                kind(**{**BASE.get(name, {}), key: value})


def test_a_backbone_refuses_what_the_text_does():
    from backbones.scaling import backbone_spec

    found = fields_of("backbones.spec", "BackboneSpec")
    for key in ("attention", "padding", "activation", "drop_path"):
        for value in beyond(key, found[key]):
            with pytest.raises(ValueError, match=key):
                backbone_spec("b0", **{key: value})


def test_sections_bases_and_null():
    train = declared("train")
    assert describe(train["head.detection.loss.alpha"].kinds) == "float 0…1 | null"
    assert train["head.detection.loss.alpha"].text.endswith("null: 0.25.")
    assert describe(train["head.semantic.loss.class_weights"].kinds).startswith("median | log | sqrt | [float")
    assert describe(declared("export")["format"].kinds).startswith("onnx | openvino")
    with pytest.raises(LookupError, match="nothing"):
        declared("nothing")


def test_the_reference_page_is_up_to_date():
    page = conf_dir().parent / "docs" / "reference" / "config.md"
    made = runpy.run_path(str(page.with_name("generate.py")))["reference"]()
    assert page.read_text(encoding="utf-8") == made, "python docs/reference/generate.py > docs/reference/config.md"
