"""The baseline costs what it is compared with."""

from __future__ import annotations

import pytest

from backbones.scaling import backbone_spec
from benchmarks.simulated import classifier_macs
from effdet.search.equal_macs import equal_macs_baseline

BASE = backbone_spec("b0")


def macs(spec):
    return classifier_macs(spec, 224, 1000)


@pytest.mark.parametrize("factor", [0.8, 0.9, 1.1, 1.3])
def test_macs_are_near_the_target(factor):
    target = factor * macs(BASE)
    found = equal_macs_baseline(BASE, macs, target=target)
    assert macs(found) == pytest.approx(target, rel=0.02)
    assert (found.stem_channels, found.head_channels) == (BASE.stem_channels, BASE.head_channels)


def test_of_its_own_cost_the_base_is_the_baseline():
    assert equal_macs_baseline(BASE, macs, target=macs(BASE)).stages == BASE.stages
