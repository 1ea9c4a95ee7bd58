"""Which kit a head gets, and what an empty one leaves out."""

from types import SimpleNamespace

import pytest

from effdet.model import build, spec_for
from effdet.tasks import Kit, chief_metrics, head_reports, kit_for, kits_of, truth_predict_fn
from effdet.tasks.detection import DetectionKit
from effdet.tasks.semantic import SemanticKit
from heads.structures import Targets, UserError


class DepthKit(Kit):
    label = "depth"
    metric = "accuracy"


def test_built_in_kits_by_name_class_and_kind():
    model = build(spec_for(task="driving", phi=-4, num_classes=3, image_size=64))
    kits = kits_of(model)
    assert [type(kit) for kit in kits.values()] == [DetectionKit, SemanticKit]
    assert chief_metrics(kits) == ("AP", "mIoU")
    lanes = kit_for("lanes", model.heads["semantic"])
    assert isinstance(lanes, SemanticKit) and lanes.name == "lanes"
    assert isinstance(kit_for("lanes", model.spec.heads["semantic"]), SemanticKit)
    assert [kit_for(name).label for name in ("detection", "semantic", "classification", "embedding")] == [
        "boxes",
        "semantic",
        "category",
        "identity",
    ]


@pytest.mark.parametrize("kit", [DepthKit, DepthKit("detection")])
def test_a_kit_of_the_head_itself_comes_first(kit):
    head = SimpleNamespace(kit=kit)
    found = kit_for("detection", head)
    assert isinstance(found, DepthKit) and found.name == "detection" and found.metric == "accuracy"


def test_what_is_no_kit_is_refused():
    with pytest.raises(UserError, match=r"head.depth.kit: must be an effdet.tasks.Kit, and is 'accuracy'; derive its"):
        kit_for("depth", SimpleNamespace(kit="accuracy"))


def test_a_head_without_a_kit_leaves_everything_out():
    kit = kit_for("depth", SimpleNamespace())
    assert type(kit) is Kit and kit.label is None and kit.metric is None and not kit.has("truth")
    assert kit.first_loss(None, None, Targets()) is None and kit.new_rows(None, None, Targets(), (0,)) is None
    assert chief_metrics({"depth": kit}) == ("depth_loss",) and truth_predict_fn({"depth": kit})(None) == {}  # type: ignore[arg-type]
    assert head_reports({"depth": kit}, {"depth": SimpleNamespace(evaluated=3)}) == {}  # type: ignore[dict-item]
