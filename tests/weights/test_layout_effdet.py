"""The effdet layout: known keys of the peer, and every tensor there and back."""

from __future__ import annotations

import pytest
import torch

from effdet.model import build, spec_for
from effdet.necks.topology import topology
from effdet.weights.layouts import Wiring, detect_layout, effdet_modules, to_ours, wiring
from heads.structures import UserError
from tests.weights.theirs import effdet_from_ours

P3_P7 = ("P3", "P4", "P5", "P6", "P7")

# (theirs, ours), read off the peer's live model.
PAIRS = {
    "fpn.resample.3.conv.conv": "neck.extra.P6.conv",
    "fpn.resample.3.conv.bn": "neck.extra.P6.norm",
    "fpn.cell.0.fnode.0.combine": "neck.cells.0.td.P6.fuse",
    "fpn.cell.0.fnode.1.combine.resample.2.conv.conv": "neck.cells.0.td.P5.laterals.P5.conv",
    "fpn.cell.0.fnode.4.combine.resample.1.conv.bn": "neck.cells.0.out.P4.laterals.P4.norm",
    "fpn.cell.0.fnode.3.combine.resample.0.conv.conv": "neck.cells.0.td.P3.laterals.P3.conv",
    "fpn.cell.2.fnode.7.after_combine.conv.conv_dw": "neck.cells.2.out.P7.conv.depthwise",
    "class_net.conv_rep.2.conv_pw": "heads.detection.class_net.convs.2.pointwise",
    "class_net.bn_rep.0.4.bn": "heads.detection.class_net.norms.0.P7",
    "box_net.predict.conv_dw": "heads.detection.box_net.predict.depthwise",
    "backbone.blocks.1.0.conv_pwl": "backbone.stages.1.0.project.conv",
}


def test_nodes_are_named_by_direction_and_level() -> None:
    backbone = spec_for("tf_efficientdet_d0").backbone
    table = effdet_modules(Wiring("bifpn", P3_P7, cells=3, repeats=3, level_first=False), backbone)
    assert {theirs: table[theirs] for theirs in PAIRS} == PAIRS
    swapped = effdet_modules(Wiring("bifpn", P3_P7, cells=3, repeats=3, level_first=True), backbone)
    assert swapped["class_net.bn_rep.4.0"] == "heads.detection.class_net.norms.0.P7"


@pytest.mark.parametrize(
    ("name", "tensors", "kind", "levels", "level_first"),
    [
        ("tf_efficientdet_d0", 784, "bifpn", 5, False),
        ("efficientdet_d0", 748, "bifpn", 5, False),
        ("tf_efficientdet_lite0", 696, "bifpn", 5, False),
        ("efficientdetv2_dt", None, "bifpn", 5, True),  # P4 is as wide as the neck: no lateral there
        ("efficientdet_q0", None, "quad", 5, True),
        ("tf_efficientdet_d7x", None, "bifpn", 6, False),
    ],
)
def test_there_and_back(
    name: str,
    tensors: int | None,
    kind: str,
    levels: int,
    level_first: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for drawing in ("normal_", "uniform_", "kaiming_uniform_", "xavier_uniform_"):
        monkeypatch.setattr(torch.nn.init, drawing, lambda tensor, *args, **options: tensor)
    spec = spec_for(name)
    assert spec.neck is not None
    ours = {key: index for index, key in enumerate(build(spec).state_dict())}  # only keys matter
    repeats = int(spec.heads["detection"].options["repeats"])
    expected = Wiring(kind, tuple(f"P{3 + i}" for i in range(levels)), spec.neck.repeats, repeats, level_first)
    theirs = effdet_from_ours(ours, expected, spec.backbone)
    assert detect_layout(theirs) == "effdet" and wiring(theirs) == expected
    assert not any(key.startswith(("neck.", "heads.")) or ".laterals." in key for key in theirs)
    assert to_ours(theirs, "effdet", spec.backbone) == ours
    assert tensors is None or len(theirs) == tensors
    if name == "efficientdetv2_dt":
        assert not any("fnode.4.combine.resample" in key for key in theirs)


def test_quad_has_21_nodes_and_wirings_of_other_networks_are_refused() -> None:
    assert len(topology("quad", P3_P7)) == 21 and len(topology("bifpn", P3_P7)) == 8
    with pytest.raises(UserError, match="9 neck nodes"):
        wiring(f"fpn.cell.0.fnode.{number}.after_combine.conv.bn.weight" for number in range(9))
