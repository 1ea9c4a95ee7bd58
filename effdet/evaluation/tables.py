"""Metrics as tables for the terminal."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

_MEANINGS = {
    "AP": "IoU .50:.95",
    "AP50": "IoU .50",
    "AP75": "IoU .75",
    "APs": "small, to 32²",
    "APm": "medium, to 96²",
    "APl": "large",
    "AR1": "1 box",
    "AR10": "10 boxes",
    "AR100": "100 boxes",
    "ARs": "small",
    "ARm": "medium",
    "ARl": "large",
}


def number(value: float | None) -> str:
    """Three decimals; a dash where there was nothing to measure on (None, NaN, COCO's -1)."""
    if value is None or math.isnan(value) or value == -1:
        return "–"
    return f"{value:.3f}"


def metric_tables(metrics: Mapping[str, Any], *, title: str = "") -> RenderableType:
    """All tables that `metrics` has numbers for: boxes, segmentation maps, image classes."""
    parts: list[RenderableType] = []
    if "AP" in metrics:
        parts += [_boxes(metrics, title or "boxes"), _box_classes(metrics["per_class"])]
        for name in (name for name in metrics if name.startswith("AP@")):
            cap = name.partition("@")[2]
            parts.append(
                Text(f"{name} {number(metrics[name])}: {cap} detections of a class in an image count, not COCO's 100")
            )
    if "mIoU" in metrics:
        parts.append(_class_maps(metrics, title or "segmentation maps"))
        if "confusion" in metrics:
            parts.append(_confusion(metrics))
    if "top1" in metrics:
        parts.append(_images(metrics, title or "image classes"))
    if "AUC" in metrics:
        parts.append(_identities(metrics, title or "identities"))
    if not parts and any(isinstance(value, int | float) for value in metrics.values()):
        parts.append(_any(metrics, title))
    return Group(*parts)


def print_metrics(metrics: Mapping[str, Any], *, title: str = "", console: Console | None = None) -> None:
    """Print `metric_tables` to `console` (None: standard output)."""
    (console or Console()).print(metric_tables(metrics, title=title))


def _any(metrics: Mapping[str, Any], title: str) -> Table:
    """The numbers of an evaluator of the user's own."""
    table = _numbers("", "", title=title)
    for name, value in metrics.items():
        if isinstance(value, int | float):
            table.add_row(Text(name), number(value))
    return table


def _boxes(metrics: Mapping[str, Any], title: str) -> Table:
    """The 12 numbers, precision beside recall."""
    table = Table("", "", "", "", "", "", title=Text(title, "bold"), show_header=False)
    for column in (1, 4):
        table.columns[column].justify = "right"
        table.columns[column].style = "bold"
    for column in (2, 5):
        table.columns[column].style = "dim"
    names = list(_MEANINGS)
    for precision, recall in zip(names[:6], names[6:], strict=True):
        cells = [text for name in (precision, recall) for text in (name, number(metrics[name]), _MEANINGS[name])]
        table.add_row(*cells)
    return table


def _box_classes(per_class: Mapping[str, Mapping[str, Any]]) -> Table:
    """A row for each class that the images show; of the others, which have nothing to measure, the number."""
    table = _numbers("class", "boxes", "AP", "AP50", "AR100")
    shown = {name: row for name, row in per_class.items() if row["boxes"] > 0}
    for name, row in shown.items():
        table.add_row(Text(name), f"{row['boxes']:,}", *(number(row[key]) for key in ("AP", "AP50", "AR100")))
    if absent := len(per_class) - len(shown):
        table.add_row(f"{absent} more", "0", *[number(None)] * 3, style="dim")
    return table


def _class_maps(metrics: Mapping[str, Any], title: str) -> Table:
    """One row a class, one a category, then the means; iIoU where the truth tells objects apart."""
    has_objects = "iIoU" in metrics
    table = _numbers("class", "share of pixels", "IoU", *(["iIoU"] if has_objects else []), title=title)
    total = sum(metrics["pixels"].values()) or 1

    def cells(iou: float, objects: float | None) -> list[str]:
        return [number(iou), number(objects)] if has_objects else [number(iou)]

    for name, value in metrics["IoU"].items():
        share = f"{100 * metrics['pixels'][name] / total:.2f} %"
        table.add_row(Text(name), share, *cells(value, metrics.get("iIoU", {}).get(name)))
    if "category_IoU" in metrics:
        table.add_section()
        for name, value in metrics["category_IoU"].items():
            table.add_row(
                Text(f"category {name}"), "", *cells(value, metrics.get("category_iIoU", {}).get(name)), style="dim"
            )
    table.add_section()
    means = cells(metrics["mIoU"], metrics.get("miIoU"))
    table.add_row("[bold]mIoU[/bold]", "", *(f"[bold]{mean}[/bold]" for mean in means))
    if "category_mIoU" in metrics:
        table.add_row("mIoU of categories", "", *cells(metrics["category_mIoU"], metrics.get("category_miIoU")))
    table.add_row("pixel accuracy", "", number(metrics["pixel_accuracy"]))
    table.add_row("mean class accuracy", "", number(metrics["mean_accuracy"]))
    return table


def _confusion(metrics: Mapping[str, Any], most: int = 20) -> Table:
    """Where the pixels of each class went: percent of its row, classes across by number; for many classes only
    the largest mistakes."""
    names = list(metrics["IoU"])
    rows = metrics["confusion"]
    if len(names) > most:
        return _mistakes(names, rows, most)
    numbers = [str(column + 1) for column in range(len(names))]
    none = ["none"] if len(rows[0]) > len(names) and any(row[-1] for row in rows) else []
    table = _numbers("truth", *numbers, *none, title="confusion: % of a row's pixels, by predicted class")
    table.padding = (0, 0, 0, 0)  # type: ignore[assignment]
    for place, (name, row) in enumerate(zip(names, rows, strict=True)):
        total = sum(row)
        shares = [100 * value / total if total else math.nan for value in row]
        texts = [_share(value, right=column == place) for column, value in enumerate(shares[: len(names)])]
        table.add_row(Text(f"{place + 1} {name}"), *texts, *([_share(shares[-1], right=False)] if none else []))
    return table


def _share(value: float, *, right: bool) -> str:
    if math.isnan(value):
        return ""
    text = f"{value:.0f}" if value >= 0.5 else "·" if value else ""
    return f"[bold]{text}[/bold]" if right else text


def _mistakes(names: list[str], rows: list[list[int]], most: int) -> Table:
    """The most frequent wrong pairs."""
    others = [*names, "none of these"]
    total = sum(map(sum, rows)) or 1
    pairs = [
        (value, row, column) for row, values in enumerate(rows) for column, value in enumerate(values) if row != column
    ]
    table = _numbers("truth", "predicted as", "% of its pixels", "% of all", title="most frequent mistakes")
    for value, row, column in sorted(pairs, reverse=True)[:most]:
        if value:
            share = 100 * value / sum(rows[row])
            table.add_row(Text(names[row]), Text(others[column]), f"{share:.1f}", f"{100 * value / total:.2f}")
    return table


def _images(metrics: Mapping[str, Any], title: str, most: int = 40) -> Table:
    table = _numbers("class", "accuracy", "precision", "most often taken for", title=title)
    names = list(metrics["accuracy"])
    confused = _confused(metrics)
    precision = metrics.get("precision", {})
    for name in names[:most]:
        cells = number(metrics["accuracy"][name]), number(precision.get(name))
        table.add_row(Text(name), *cells, Text(confused.get(name, "")))
    if len(names) > most:
        table.add_row(f"… {len(names) - most} more", "", "", "", style="dim")
    table.add_section()
    table.add_row("[bold]top-1[/bold]", f"[bold]{number(metrics['top1'])}[/bold]", "", "")
    table.add_row("top-5", number(metrics["top5"]), "", "")
    if "ECE" in metrics:
        table.add_row("calibration error (ECE)", number(metrics["ECE"]), "", "")
    if scaled := metrics.get("calibration"):
        text = f"{number(scaled['ECE_before'])} without, on {scaled['images']:,} images"
        table.add_row(f"ECE at temperature {scaled['temperature']:.2f}", number(scaled["ECE_after"]), "", text)
    return table


def _identities(metrics: Mapping[str, Any], title: str) -> Table:
    table = _numbers("", "", title=title)
    for name in ("recall@1", "recall@5", "recall@10", "mAP", "AUC"):
        table.add_row(name, number(metrics[name]))
    for name in (name for name in metrics if name.startswith("TAR@FAR")):
        table.add_row(name, number(metrics[name]))
    table.add_section()
    pairs = f"{metrics['same_pairs']:,} of one identity, {metrics['different_pairs']:,} of two"
    table.add_row(f"{metrics['identities']:,} identities; pairs", pairs)
    return table


def _confused(metrics: Mapping[str, Any]) -> dict[str, str]:
    """For each class the wrong one that it is most often taken for, and in which share of its images."""
    found = {}
    names = metrics.get("class_names", [])
    for name, row in zip(names, metrics.get("class_confusion", []), strict=False):
        others = [(count, other) for count, other in zip(row, names, strict=True) if other != name and count]
        if others:
            count, other = max(others, key=lambda pair: pair[0])
            found[name] = f"{other} {100 * count / sum(row):.1f} %"
    return found


def _numbers(first: str, *others: str, title: str | None = None) -> Table:
    table = Table(first, *others, title=None if title is None else Text(title, "bold"))
    for column in table.columns[1:]:
        column.justify = "right"
    return table
