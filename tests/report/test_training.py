"""Curves read from a metrics.csv as trainings leave it."""

from __future__ import annotations

from effdet.report.training import read_curves, training_section


def test_columns_without_blanks_by_step(tmp_path):
    path = tmp_path / "metrics.csv"
    path.write_text("step,epoch,loss,lr,val/AP\n1,0,3.5,0.1,\n2,0,nan,0.2,0.25\n3,1,2.5,,inf\n")
    assert read_curves(path) == {
        "loss": [(1.0, 3.5), (3.0, 2.5)],
        "lr": [(1.0, 0.1), (2.0, 0.2)],
        "val/AP": [(2.0, 0.25)],
    }


def test_a_resumed_run_writes_steps_again(tmp_path):
    path = tmp_path / "metrics.csv"
    path.write_text("step,epoch,loss\n1,0,3\n2,0,2\n3,0,9\n2,0,2.5\n3,0,1\n")
    assert read_curves(path)["loss"] == [(1, 3), (2, 2.5), (3, 1)]


def test_long_curves_are_thinned_and_keep_their_end(tmp_path):
    path = tmp_path / "metrics.csv"
    path.write_text("step,epoch,loss\n" + "".join(f"{step},0,{step}\n" for step in range(1, 10_001)))
    points = read_curves(path)["loss"]
    assert len(points) <= 1501
    assert points[0] == (1, 1) and points[-1] == (10_000, 10_000)


def test_what_is_missing_has_no_chart():
    section = training_section({"loss": [(1.0, 2.0)], "val/AP": [(1.0, -1.0)]})
    assert "Loss" in section.content
    assert "Learning rate" not in section.content and "Validation" not in section.content
