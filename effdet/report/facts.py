"""What the numbers were measured with: data, model, machine, configuration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from effdet.html import Html, Section, bar_chart, callout, details, figure, grid, heading, listing, section, table, text
from effdet.report.fusion import FusionShares, fusion_figures

MOST_CLASSES = 40
MOST_WARNINGS = 20


@dataclass(frozen=True)
class DataFacts:
    """One split."""

    name: str
    split: str
    images: int
    fingerprint: str
    """sha256 of what it labels."""
    boxes: Mapping[str, int] = field(default_factory=dict)
    """True boxes by class, crowds left out; empty where it labels none."""
    warnings: Sequence[str] = ()


@dataclass(frozen=True)
class Facts:
    """All of it; what is empty is left out of the page."""

    data: Sequence[DataFacts] = ()
    model: Mapping[str, str] = field(default_factory=dict)
    """Name, weights and their hash, parameters, input …"""
    machine: Mapping[str, str] = field(default_factory=dict)
    """Hardware and versions."""
    times: Mapping[str, str] = field(default_factory=dict)
    config: str = ""
    """As YAML."""
    fusion: Sequence[FusionShares] = ()
    """Learned weights of the neck, a row of them for each node."""


def data_section(splits: Sequence[DataFacts]) -> Section | None:
    """Sizes, classes and warnings of each split."""
    if not splits:
        return None
    rows = [
        [facts.split, facts.name, facts.images, sum(facts.boxes.values()) or None, facts.fingerprint[:12]]
        for facts in splits
    ]
    parts: list[Html] = [table(["split", "data", "images", "boxes", "fingerprint"], rows)]
    for facts in splits:
        if facts.warnings:
            lines = "\n".join(facts.warnings[:MOST_WARNINGS])
            more = len(facts.warnings) - MOST_WARNINGS
            parts.append(
                callout(
                    f"{facts.split}: {len(facts.warnings)} warnings",
                    listing(lines + (f"\n… {more} more" if more > 0 else "")),
                    tone="warning",
                )
            )
    charts = [figure(_classes(facts)) for facts in splits if facts.boxes]
    return section("Data", *parts, grid(*charts, least="24rem") if charts else None)


def setup_section(facts: Facts) -> Section | None:
    """Model, times, machine and configuration."""
    parts: list[Html] = []
    for title, rows in (("Model", facts.model), ("Time", facts.times), ("Machine", facts.machine)):
        if rows:
            parts += [heading(title), table(["", ""], [[key, value] for key, value in rows.items()])]
    if facts.config:
        parts += [heading("Configuration"), details("all keys", listing(facts.config))]
    return section("Model and machine", *parts) if parts else None


def fusion_section(shares: Sequence[FusionShares]) -> Section | None:
    """How much of each input the neck's nodes take."""
    if not shares:
        return None
    return section(
        "Fusion weights",
        text(
            "Each node of the neck sums its inputs by learned shares. Rows are levels; an even split would be 0.50 or 0.33. "
            "A share near 0 is a connection that the model does without."
        ),
        grid(*(figure(chart) for chart in fusion_figures(shares)), least="20rem"),
    )


def _classes(facts: DataFacts) -> Html:
    ordered = sorted(facts.boxes.items(), key=lambda entry: -entry[1])
    shown, rest = ordered[:MOST_CLASSES], ordered[MOST_CLASSES:]
    if rest:
        shown = [*shown, (f"{len(rest)} other classes", sum(count for _, count in rest))]
    return bar_chart(
        [name for name, _ in shown],
        {"boxes": [count for _, count in shown]},
        title=f"Boxes of {facts.split} by class",
        width=560,
    )
