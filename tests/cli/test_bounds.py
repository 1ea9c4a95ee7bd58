"""The ends of what each key's line in conf/ allows: whatever is allowed computes finite numbers, or is refused in one line.

No command runs: the values go to the part that reads them, on features and images of a few pixels.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from effdet.cli.schema import Key, conf_dir, read_keys
from effdet.data import AugmentSpec, Dataset, DataSpec, Progression, open_dataset
from effdet.data.train_set import TrainSet
from effdet.model import spec_for
from effdet.model.heads import build_head
from effdet.preprocess import Preprocess
from heads.errors import UserError
from heads.fields import Kind, admits
from heads.protocol import Context
from heads.structures import Targets
from tests.cli.conftest import problems

WIDE = 10**9
EDGES = (0, 1, 2, 3, 1e-6, 0.5, WIDE, -1, math.inf, math.nan, 2**63)
SIDE = 64
LEVELS = {f"P{level}": max(SIDE >> level, 1) for level in range(2, 10)} | {"C2": 16, "C3": 8, "C4": 4, "C5": 2}
MEMORY = ("channels", "head_channels", "repeats", "dim", "scales_per_octave")
"""Keys whose value is a number of weights: as large as the machine's memory."""


def keys_of(name: str) -> dict[str, Key]:
    group = name.partition("/")[0] if "/" in name else ""
    return read_keys(conf_dir() / f"{name}.yaml", group).keys


def edges(kind: Kind) -> Iterator[Any]:
    """Values at the ends of `kind`, and some that are common; not all are of it."""
    if kind.base == "literal":
        yield kind.literal
    elif kind.base == "bool":
        yield from (True, False)
    elif kind.base in ("int", "float"):
        ends = [end for end in (kind.low, kind.high) if math.isfinite(end)]
        yield from [int(end) if kind.base == "int" else end for end in ends]
        yield from EDGES
    elif kind.base == "str":
        yield from ("x", "")
    elif kind.base == "list":
        items = list(dict.fromkeys(value for item in kind.items[0] if item.base != "list" for value in edges(item)))
        for length in range(4):
            yield from ([item] * length for item in items)
        yield from map(list, itertools.pairwise(items))


def allowed(key: Key) -> list[Any]:
    kinds = key.kinds or ()
    found = [value for kind in kinds for value in edges(kind) if admits(kinds, value)]
    if key.name.rpartition(".")[2] in MEMORY:
        found = [value for value in found if value != WIDE]
    if key.name.endswith("loss.class_weights"):  # its overrides become numbers when the masks have been counted
        found = [value for value in found if not isinstance(value, str)]
    return list({repr(value): value for value in found}.values())


def nested(name: str, value: Any) -> dict[str, Any]:
    first, _, rest = name.partition(".")
    return {first: nested(rest, value) if rest else value}


def finite(values: Any) -> bool:
    if values is None:
        return True
    if isinstance(values, torch.Tensor):
        return not values.is_floating_point() or bool(torch.isfinite(values).all())
    return all(finite(value) for value in (values.values() if isinstance(values, dict) else vars(values).values()))


TARGETS = Targets(
    boxes=torch.tensor([[[4.0, 4, 40, 30], [0, 0, 0, 0]], [[0, 0, 0, 0], [0, 0, 0, 0]]]),
    labels=torch.tensor([[1, -1], [-1, -1]]),
    semantic=torch.tensor([0, 1, 2, 255], dtype=torch.uint8).repeat(2, SIDE, SIDE // 4),
    category=torch.tensor([0, 2]),
)


def pass_through(head: str, options: dict[str, Any]) -> bool:
    """One step and one prediction of only the head; whether all numbers are finite."""
    task = {"semantic": "segmentation"}.get(head, head)
    spec = spec_for(phi=-4.0, task=task, num_classes=3, image_size=SIDE, neck={"channels": 8}, heads={head: options})
    torch.manual_seed(0)
    module: Any = build_head(head, spec.heads[head], dict.fromkeys(LEVELS, 8), spec.classes[head])
    features = {name: torch.randn(2, 8, side, side) for name, side in LEVELS.items()}
    context = Context((SIDE, SIDE))
    output = module(features, context)
    loss = module.loss(output, TARGETS, context)
    sum(loss.values()).backward()
    gradients = {name: parameter.grad for name, parameter in module.named_parameters() if parameter.grad is not None}
    with torch.inference_mode():
        found = module.eval().predict(module(features, context), context)
    return finite(loss) and finite(gradients) and finite(found)


HEADS = ("detection", "semantic", "semantic_light", "classification", "embedding")


@pytest.mark.parametrize("file", HEADS)
def test_heads(file: str) -> None:
    head = file.removesuffix("_light")
    faults = []
    for name, key in keys_of(f"head/{file}").items():
        option = name.removeprefix(f"head.{head}.")
        for value in allowed(key):
            try:
                if not pass_through(head, nested(option, value)):
                    faults.append(f"{name}={value}: not finite")
            except UserError as error:
                assert "\n" not in str(error)
            except Exception as error:  # what a user would see as a traceback
                faults.append(f"{name}={value}: {type(error).__name__}: {error}")
    assert not faults, "\n".join(faults)


def classified(root: Path) -> Dataset:
    """One image of one class."""
    (root / "train" / "a").mkdir(parents=True)
    Image.fromarray(np.arange(36 * 50 * 3, dtype=np.uint8).reshape(36, 50, 3)).save(root / "train" / "a" / "1.png")
    return open_dataset(DataSpec("folder", root))


@pytest.mark.parametrize(("file", "size"), [("strong", (64, 64)), ("strong", (33, 4096)), ("randaugment", (32, 63))])
def test_augmentation(file: str, size: tuple[int, int], small_coco: Path, tmp_path: Path) -> None:
    source = open_dataset(DataSpec("coco", small_coco)) if file == "strong" else classified(tmp_path)
    keys = keys_of(f"augment/{file}")
    faults = []
    always = dict.fromkeys(("colour", "blur", "noise", "erase"), 1.0)
    for name, key in keys.items():
        option = name.removeprefix("augment.")
        if option == "name":
            continue
        for value in allowed(key):
            options = always | ({"scale": [1.0, 1.0]} if option in ("aspect", "class_crop") else {}) | {option: value}
            options |= {"mosaic": 1.0} if option.startswith("mosaic_") else {}
            try:
                sample = TrainSet(source, Preprocess(size=size), augment=AugmentSpec(**options), epochs=3)[0, 0]
                if sample.image.shape != (*size, 3) or not np.isfinite(sample.boxes).all():
                    faults.append(f"{name}={value}: {sample.image.shape}, {sample.boxes}")
            except UserError as error:
                assert "\n" not in str(error)
            except Exception as error:
                faults.append(f"{name}={value}: {type(error).__name__}: {error}")
    assert not faults, "\n".join(faults)


def test_every_key_says_what_it_may_be() -> None:
    silent = [
        f"{path.name}: {name}"
        for path in sorted(conf_dir().glob("augment/*.yaml")) + sorted(conf_dir().glob("head/*.yaml"))
        for name, key in read_keys(path, path.parent.name).keys.items()
        if key.kinds is None
    ]
    assert not silent


FREE = ("trainer.plugins",)
"""Keys that take Lightning's objects."""


def test_no_number_without_end() -> None:
    """`inf` and `nan` are numbers to YAML; no key takes them."""
    for path in sorted(conf_dir().rglob("*.yaml")):
        group = path.parent.name if path.parent != conf_dir() else ""
        for name, key in read_keys(path, group).keys.items():
            for value in (math.inf, -math.inf, math.nan, 2**63, [math.inf, math.inf]):
                assert key.kinds
                assert not admits(key.kinds, value) or name in FREE, f"{path}: {name}={value}"


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (["head.detection.loss.class_weight=inf"], "=inf: must be float ≥ 0 | null, a finite number below 2^63"),
        (["max_detections=9223372036854775808"], "must be int ≥ 1 | null, a finite number below 2^63"),
        (["augment.hflip=null"], "augment.hflip=null: must be float 0…1"),
        (["augment.scale=[a,b]"], "augment.scale=['a', 'b']: must be [float 0.001…1000, float 0.001…1000] | null"),
        (["augment.noise_std=1.5"], "augment.noise_std=1.5: must be float 0…1"),
        (["image_size=[]"], "image_size=[]: must be int | [int, int] | null"),
    ],
)
def test_refused_in_one_line(overrides: list[str], line: str) -> None:
    (found,) = problems("train", *overrides)
    assert line in found


def test_a_stage_is_an_epoch_at_least() -> None:
    growth = Progression(stages=WIDE, size=32).within(3)
    assert growth.stages == 3
    assert [growth.stage(epoch, 3) for epoch in range(3)] == [0, 1, 2]
    assert growth.preprocess(Preprocess(size=(64, 64)), 2).size == (64, 64)
    assert Progression(stages=4).within(None).stages == 4


def test_a_first_stage_without_pixels() -> None:
    with pytest.raises(UserError, match=r"progressive.size=32: .*set progressive.size to at least 128"):
        Progression(stages=2, size=32).preprocess(Preprocess(size=(32, 4096)), 0)


@pytest.mark.parametrize(
    "options",
    [{"hflip": None}, {"noise_std": 1.5}, {"scale": ["a", "b"]}, {"scale": [1, None]}, {"scale": {"a": 1, "b": 2}},
     {"mixup": math.inf}, {"scale": [1.0, math.inf]}, {"blur_sigma": "x"}],
)  # fmt: skip
def test_augmentation_from_python(options: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=f"augment.{next(iter(options))}="):
        AugmentSpec(**options)
