"""Class names and titles are printed as they are, whatever markup they look like."""

import io

import pytest
from rich.console import Console

from effdet.evaluation import join
from effdet.evaluation.tables import print_metrics
from heads.structures import ClassTable

NAMES = ["[car]", "[/b]", ":cat:", "a[0]"]


@pytest.mark.parametrize("name", NAMES)
def test_metrics(name):
    out = io.StringIO()
    row = {"boxes": 3, "AP": 0.5, "AP50": 0.5, "AR100": 0.5}
    numbers = ["AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl"]
    boxes = dict.fromkeys(numbers, 0.5) | {"per_class": {name: row}}
    maps = {"mIoU": 0.5, "IoU": {name: 0.5}, "pixels": {name: 4}, "pixel_accuracy": 0.5, "mean_accuracy": 0.5}
    maps["confusion"] = [[4]]
    classes = {"top1": 0.5, "top5": 1.0, "accuracy": {name: 0.5}, "class_names": [name, "x"]}
    classes["class_confusion"] = [[1, 1], [1, 1]]
    for metrics in (boxes, maps, classes):
        print_metrics(metrics, title=f"run {name}", console=Console(file=out, width=200))
    assert out.getvalue().count(f"run {name}") == 3
    assert sum(name in line for line in out.getvalue().splitlines()) >= 7


@pytest.mark.parametrize("name", NAMES)
def test_joined_classes(name):
    out = io.StringIO()
    table = ClassTable.of((name, "x"))
    Console(file=out, width=200).print(join(table, table).table())
    assert name in out.getvalue()
