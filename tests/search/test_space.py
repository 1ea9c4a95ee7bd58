"""Decisions describe networks, and networks decisions; the MACs of a description are those of the network it builds."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import backbones
from backbones.attention import EfficientChannelAttention, SqueezeExcite
from backbones.scaling import backbone_spec, phi_spec
from backbones.spec import BackboneSpec, StageSpec
from benchmarks.simulated import classifier_macs
from effdet.model import count_cost, count_macs, spec_for
from effdet.search.algorithms import uniform
from effdet.search.costs import backbone_macs
from effdet.search.space import SearchSpace

SPACE = SearchSpace(backbone_spec("b0"))
SMALL = SearchSpace(phi_spec(-4), fused=True, divisor=4)


def tokens_of(space: SearchSpace) -> st.SearchStrategy[tuple[int, ...]]:
    return st.tuples(*(st.integers(0, size - 1) for size in space.sizes))


@settings(max_examples=30, deadline=None)
@given(tokens_of(SPACE))
def test_round_trip(tokens):
    spec = SPACE.decode(tokens)
    assert SPACE.decode(SPACE.encode(spec)) == spec
    assert BackboneSpec.from_dict(spec.to_dict()) == spec


def test_the_base_lies_in_its_own_space():
    base = SPACE.decode(SPACE.encode(SPACE.base))
    for found, requested in zip(base.stages, SPACE.base.stages, strict=True):
        assert base.attention_of(found) == SPACE.base.attention_of(requested)
        assert {**found.to_dict(), "attention": None} == {**requested.to_dict(), "attention": None}


def test_size_of_the_space():
    # One stage of 3 layers and width 80. conv: kernel, skip, filters, layers. separable: attention too. mbconv: and expansion.
    each = 2 * 2 * 3 * 3 * (1 + 3 + 3 * 2)
    first = 2 * 2 * 2 * 2 * (1 + 3 + 3 * 2)  # 16 channels: 0.75 is rounded back to 16; one layer: -1 is one too
    second = 2 * 2 * 2 * 3 * (1 + 3 + 3 * 2)  # 24 channels: 18 would become 16, a tenth too few, so it is 24 again
    assert len(SPACE._known[3]) == each
    assert len(SPACE._known[0]) == first
    last = 2 * 2 * 3 * 2 * (1 + 3 + 3 * 2)  # one layer
    assert SPACE.count == first * second * each**4 * last
    assert len(SPACE.sizes) == 49 and math.prod(SPACE.sizes[:7]) == 648


def test_a_block_by_hand():
    tokens = list(SPACE.encode(SPACE.base))
    tokens[21:28] = (2, 1, 2, 0, 2, 0, 0)  # mbconv, 5x5, eca, no skip, 1.25, -1 layer, expansion 3
    stage = SPACE.decode(tokens).stages[3]
    assert stage == StageSpec("mbconv", 5, 2, 3, 104, 2, 0.25, skip=False, attention="eca")  # 100 -> 104


def test_errors_name_the_decision():
    with pytest.raises(ValueError, match="tokens must be 49 numbers, got 2"):
        SPACE.decode((0, 0))
    with pytest.raises(ValueError, match=r"tokens\[0\] \(=3\) must lie in \[0, 2\]"):
        SPACE.decode((3, *SPACE.encode(SPACE.base)[1:]))
    with pytest.raises(ValueError, match="stage 0 of .*lies outside the space"):
        SPACE.encode(backbone_spec("b7"))
    with pytest.raises(ValueError, match="6 stages, the space has 7 blocks"):
        SPACE.encode(backbone_spec("v2_b0"))


@pytest.mark.parametrize("size", [32, 65])
@pytest.mark.parametrize("seed", range(4))
def test_closed_form_macs_equal_the_counter(seed, size):
    spec = SMALL.decode(uniform(SMALL.sizes, torch.Generator().manual_seed(seed)))
    with torch.device("meta"):
        net, images = backbones.create(spec).eval(), torch.empty(1, 3, size, size)
    assert backbone_macs(spec, size) == count_macs(net, images)
    model = spec_for(task="classification", backbone=spec, num_classes=10)
    assert classifier_macs(spec, size, 10) == round(count_cost(model, (size, size)).gmacs * 1e9)


def test_macs_of_b0_by_the_papers_table():
    assert round(classifier_macs(backbone_spec("b0"), 224, 1000) / 1e9, 2) == 0.39  # Table 2


def test_stages_have_attention_of_their_own():
    tokens = list(SPACE.encode(SPACE.base))
    tokens[9], tokens[16] = 2, 0  # block 1: eca, block 2: none
    net = backbones.create(SPACE.decode(tokens))
    assert isinstance(net.stages[0][0].attention, SqueezeExcite)
    assert isinstance(net.stages[1][0].attention, EfficientChannelAttention)
    assert isinstance(net.stages[2][0].attention, torch.nn.Identity)
