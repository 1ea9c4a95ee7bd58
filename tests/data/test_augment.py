"""Specs and presets."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest
import yaml

from effdet.data import AugmentSpec, DataError

PRESETS = Path(__file__).resolve().parents[2] / "conf/augment"


@pytest.mark.parametrize("name", ["none", "light", "default", "strong"])
def test_presets_name_every_setting_of_boxes_and_masks(name):
    values = yaml.safe_load((PRESETS / f"{name}.yaml").read_text())
    of_whole_images = {"shift", "policy", "policy_magnitude", "policy_ops", "cutmix"}
    assert set(values) == {field.name for field in fields(AugmentSpec)} - of_whole_images
    assert AugmentSpec.from_dict(values).name == name


def test_none_is_the_plain_spec():
    assert AugmentSpec.from_dict(yaml.safe_load((PRESETS / "none.yaml").read_text())) == AugmentSpec()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"hflip": 1.5}, "augment.hflip=1.5: must be float 0…1"),
        ({"scale": (2, 1)}, r"augment.scale=\[2, 1\] must be two numbers"),
        ({"scale": 0.5}, "augment.scale=0.5: must be"),
        ({"scale": (0, 1)}, r"augment.scale=\[0, 1\]: must be"),
        ({"aspect": None}, "augment.aspect=null: must be"),
        ({"hue": 0.7}, "augment.hue=0.7"),
        ({"brightness": 2}, "augment.brightness=2"),
        ({"noise_std": -1}, "augment.noise_std=-1: must be float 0…1"),
        ({"area": (0.1, 2)}, "augment.area="),
        ({"area": (0.1, 1), "mosaic": 0.5}, "augment.area excludes"),
        ({"aspect": (0.5, 2)}, "would do nothing"),
        ({"flip": 0.5}, "augment.flip is not a setting"),
    ],
)
def test_bad_specs(values, message):
    with pytest.raises(DataError, match=message):
        AugmentSpec.from_dict(values)
