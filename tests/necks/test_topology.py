"""The wiring, against the paper's figure written out by hand."""

import pytest

from effdet.necks import topology
from heads.structures import UserError

P3_P7 = ("P3", "P4", "P5", "P6", "P7")


def wires(kind, levels=P3_P7):
    return [(node.name, node.inputs) for node in topology(kind, levels)]


def test_bifpn_is_the_figure():
    assert wires("bifpn") == [
        ("td.P6", ("in.P6", "in.P7")),
        ("td.P5", ("in.P5", "td.P6")),
        ("td.P4", ("in.P4", "td.P5")),
        ("td.P3", ("in.P3", "td.P4")),
        ("out.P4", ("in.P4", "td.P4", "td.P3")),
        ("out.P5", ("in.P5", "td.P5", "out.P4")),
        ("out.P6", ("in.P6", "td.P6", "out.P5")),
        ("out.P7", ("in.P7", "out.P6")),
    ]


def test_fpn_is_top_down_alone():
    assert wires("fpn", ("P3", "P4", "P5")) == [
        ("td.P5", ("in.P5",)),
        ("td.P4", ("in.P4", "td.P5")),
        ("td.P3", ("in.P3", "td.P4")),
    ]


def test_panet_goes_down_then_up():
    assert wires("panet", ("P3", "P4")) == [
        ("td.P4", ("in.P4",)),
        ("td.P3", ("in.P3", "td.P4")),
        ("out.P3", ("td.P3",)),
        ("out.P4", ("td.P4", "out.P3")),
    ]


def test_quad_sums_two_pairs_of_paths():
    nodes = wires("quad", ("P3", "P4", "P5"))
    assert nodes[0] == ("down1.P4", ("in.P4", "in.P5"))
    assert ("up1.P4", ("in.P4", "down1.P4", "down1.P3")) in nodes
    assert ("down2.P3", ("in.P3", "down2.P4")) in nodes
    assert nodes[-3:] == [
        ("out.P3", ("down1.P3", "down2.P3")),
        ("out.P4", ("up1.P4", "down2.P4")),
        ("out.P5", ("up1.P5", "up2.P5")),
    ]


@pytest.mark.parametrize("kind", ["bifpn", "fpn", "panet", "quad"])
def test_every_node_uses_only_what_came_before(kind):
    levels = ("P2", "P3", "P4", "P5", "P6", "P7", "P8")
    known = {f"in.{level}" for level in levels}
    for node in topology(kind, levels):
        assert set(node.inputs) <= known
        known.add(node.name)


@pytest.mark.parametrize("levels", [("P3",), ("P3", "P5"), ("P4", "P3")])
def test_levels_must_be_consecutive(levels):
    with pytest.raises(UserError, match="consecutive"):
        topology("bifpn", levels)


def test_unknown_kind_lists_the_known():
    with pytest.raises(UserError, match="bifpn, fpn, panet, quad"):
        topology("nasfpn", P3_P7)
