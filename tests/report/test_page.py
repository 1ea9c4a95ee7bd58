"""The page as a whole, of a small evaluation of all three heads: what it says, and that it is valid HTML."""

from __future__ import annotations

from html.parser import HTMLParser
from types import SimpleNamespace

import numpy as np
import pytest

from effdet.evaluation import (
    ClassificationEvaluator,
    DetectionEvaluator,
    ModelPredictFn,
    SemanticEvaluator,
    evaluate,
    same_classes,
)
from effdet.report import DataFacts, Facts, Gallery, measured, report_page
from effdet.report.facts import FusionShares
from effdet.report.statistics.bootstrap import paired_difference
from effdet.tasks import head_reports, kit_for
from tests.evaluation_fakes import CLASSES, FakeModel, FakeSet

VOID = {"img", "meta", "br", "link", "input", "hr"}


class Outline(HTMLParser):
    """Every element that is opened is closed, in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.text = ""
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.seen.append(tag)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data + "\n"


class ReadableSet(FakeSet):
    """With a `source` that reads the images as they are stored."""

    @property
    def source(self):
        records = [self[index].record for index in range(len(self))]
        return SimpleNamespace(
            records=records,
            read_image=lambda record: self.image(record.image_id - 100),
            read_mask=lambda record: (self.image(record.image_id - 100)[..., 0] > 0).astype(np.uint8),
        )


def evaluated(*, count: int = 4, heads=("detection", "semantic", "classification")):
    """The fake model on the fake set: result, evaluators, gallery."""
    dataset, model = ReadableSet(count), FakeModel(*heads)
    kinds = {
        "detection": lambda: DetectionEvaluator(dataset.coco(), same_classes(CLASSES)),
        "semantic": lambda: SemanticEvaluator(same_classes(CLASSES)),
        "classification": lambda: ClassificationEvaluator(same_classes(CLASSES)),
    }
    evaluators = {head: kinds[head]() for head in heads}
    predict = ModelPredictFn(model)
    result = evaluate(predict, dataset, evaluators=evaluators, batch_size=2, progress=False)
    return result, evaluators, Gallery(dataset, lambda: predict)


def reports_of(evaluators):
    return head_reports({name: kit_for(name) for name in evaluators}, evaluators)


def page_of(result, evaluators, gallery, **options) -> Outline:
    reports = reports_of(evaluators)
    intervals = measured(reports, samples=100)
    page = report_page(
        "A <run>",
        "of a test",
        metrics=result.metrics,
        reports=reports,
        intervals=intervals,
        facts=options.pop("facts", Facts()),
        gallery=gallery,
        **options,
    )
    return Outline(page.render())


def test_all_heads_have_their_part():
    page = page_of(*evaluated())
    for title in (
        "Boxes",
        "Precision, recall and F1",
        "Confusion",
        "Mistakes",
        "Images",
        "Segmentation maps",
        "Classes",
    ):
        assert title in page.text
    assert "A <run>" in page.text  # escaped in the file, itself to the reader
    assert page.seen.count("svg") >= 5
    assert "2 of each" not in page.text
    # The fake finds each square and calls it a car: right in even images, the other class in odd ones.
    assert "1 right, 0 wrong, 0 missed" in page.text
    assert "0 right, 1 wrong, 1 missed" in page.text
    assert "Cls" in page.text


@pytest.mark.parametrize("head", ["detection", "semantic", "classification"])
def test_one_head_alone_and_without_images(head):
    result, evaluators, _ = evaluated(heads=(head,), count=1)
    page = page_of(result, evaluators, None)
    assert "img" not in page.seen


def test_a_head_that_evaluated_nothing_is_left_out():
    _, evaluators, _ = evaluated(heads=("semantic",))
    evaluators["semantic"].reset()
    assert reports_of(evaluators) == {}


def test_a_subclass_of_an_evaluator_has_its_parents_part():
    class Finer(SemanticEvaluator):
        pass

    _, evaluators, _ = evaluated(heads=("semantic",))
    finer = Finer(same_classes(CLASSES))
    finer.merge([evaluators["semantic"].state()])
    assert list(reports_of({"semantic": finer})) == ["semantic"]


def test_statistics_agree_with_the_metrics():
    result, evaluators, _ = evaluated()
    intervals = measured(reports_of(evaluators), samples=50)
    for head, keys in {"detection": ("AP", "AP50"), "semantic": ("mIoU",), "classification": ("top1", "top5")}.items():
        for key in keys:
            assert intervals[head][key].value == pytest.approx(result.metrics[key])


def test_boxes_are_matched_once(monkeypatch):
    """The report takes the matches that the metrics were computed from."""
    result, evaluators, gallery = evaluated(heads=("detection",))
    expected = page_of(result, evaluators, gallery).text
    monkeypatch.setattr("effdet.report.boxes.match", lambda boxes: pytest.fail("matched again"))
    assert page_of(result, evaluators, gallery).text == expected
    monkeypatch.undo()
    evaluators["detection"].pairs = None  # as of a backend that doesn't say
    assert page_of(result, evaluators, gallery).text == expected


def test_two_evaluations_can_be_paired():
    (_, first, _), (_, second, _) = evaluated(), evaluated()
    for head, report in reports_of(first).items():
        other = reports_of(second)[head]
        assert report.images == other.images
        assert all(
            d.value == 0 or np.isnan(d.value) for d in paired_difference(report.statistic, other.statistic).values()
        )


def test_facts_and_curves_are_written_down(tmp_path):
    (tmp_path / "metrics.csv").write_text(
        "step,epoch,loss,detection/box,lr,val/AP,val/APs\n1,0,2.5,1.5,0.1,,\n2,0,2.0,1,0.2,0.25,-1\n"
    )
    facts = Facts(
        data=[DataFacts("coco", "val", 4, "ab" * 32, {"car": 2, "person": 2}, ["1 box without area"])],
        model={"sha256 of the weights": "cd" * 32},
        machine={"cpu": "x86_64"},
        times={"training": "3 minutes"},
        config="seed: 0\n",
        fusion=[FusionShares(0, "td", "P6", (("in.P6", 0.4), ("in.P7", 0.6))),
                FusionShares(0, "out", "P6", (("in.P6", 0.2), ("td.P6", 0.3), ("td.P5", 0.5)))],
    )  # fmt: skip
    result, evaluators, gallery = evaluated()
    page = page_of(result, evaluators, gallery, facts=facts, curves=tmp_path / "metrics.csv", summary=["finished."])
    for text in (
        "Training",
        "Learning rate",
        "1 box without area",
        "cd" * 32,
        "x86_64",
        "seed: 0",
        "0.60",
        "finished.",
    ):
        assert text in page.text, text
