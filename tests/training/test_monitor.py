"""What decides the best checkpoint."""

from types import SimpleNamespace

import pytest

from effdet.training.monitor import monitor_mode, monitor_name, monitored, shown_score, with_mean
from heads.structures import UserError


def test_each_head_has_a_say_where_nothing_is_said():
    def model(*heads):
        return SimpleNamespace(classes=dict.fromkeys(heads))

    assert monitored((), model("detection")) == ("AP",)
    assert monitored((), model("detection", "semantic")) == ("AP", "mIoU")
    assert monitored((), model("detection", "depth")) == ("AP",)
    assert monitored(("val/AP50",), model("detection", "semantic")) == ("AP50",)
    assert monitored((), model("depth", "flow")) == ("depth_loss", "flow_loss")


def test_a_loss_is_better_when_lower():
    assert monitor_mode(("AP", "mIoU")) == "max" and monitor_mode(("depth_loss", "flow_loss")) == "min"
    with pytest.raises(UserError, match="monitor: depth_loss is better when lower, the others when higher"):
        monitor_mode(("AP", "depth_loss"))


def test_the_mean_of_several_is_one_more_metric():
    names = ("AP", "mIoU")
    found = with_mean({"AP": 0.2, "mIoU": 0.6, "IoU": {"road": 1.0}}, names)
    assert found[monitor_name(names)] == pytest.approx(0.4) and found["AP"] == 0.2
    assert with_mean({"AP": -1.0, "mIoU": 0.6}, names)["mean_AP_mIoU"] == pytest.approx(0.3)
    assert with_mean({"AP": -1.0, "mIoU": -1.0}, names)["mean_AP_mIoU"] == -1.0  # nothing measured at all


def test_one_metric_needs_no_mean():
    assert monitor_name(("AP",)) == "AP" and with_mean({"AP": 0.2}, ("AP",)) == {"AP": 0.2}


def test_a_missing_one_is_named():
    with pytest.raises(UserError, match="monitor: mIoU is not among the metrics of the evaluation: AP"):
        with_mean({"AP": 0.2}, ("AP", "mIoU"))


def test_a_score_that_was_not_measured_is_shown_as_a_dash():
    assert [shown_score(value) for value in (0.64304, -1.0, float("nan"))] == ["0.6430", "–", "–"]
