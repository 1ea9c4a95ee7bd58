"""What a load did, tensor by tensor: the last thing that ``load_weights`` says."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class CarriedOver:
    """A class-dependent last layer whose rows were taken over by class name."""

    layer: str
    taken: tuple[str, ...]
    """Class names whose rows were copied."""
    fresh: tuple[str, ...]
    """Class names that the file lacks: their rows keep the model's own initial values."""


@dataclass(frozen=True)
class LoadReport:
    """The outcome of one load. Tensors go by the model's own keys."""

    source: str
    layout: str
    """How the file names its tensors."""
    scope: str
    """``model`` or ``backbone``: what had to be filled."""
    conventions: str
    """Where padding, epsilon, pixels and classes came from."""
    matched: tuple[str, ...] = ()
    carried_over: tuple[CarriedOver, ...] = ()
    missing: tuple[str, ...] = ()
    """In the model, not in the file; their values were left as they were."""
    left_over: tuple[str, ...] = ()
    """In the file, not in the model."""
    expected_left_over: tuple[str, ...] = ()
    """In the file and rightly unused: the classifier of a file that fills a backbone, laterals that need no projection."""
    fresh: tuple[str, ...] = ()
    """Only in the model, and rightly so: heads that the file's model lacks, nodes of a wider neck, box layers of another kind
    than the file's. At their initial values."""
    changed_shape: tuple[tuple[str, tuple[int, ...], tuple[int, ...]], ...] = ()
    """(key, shape in the file, shape in the model); not loaded."""
    changes: tuple[str, ...] = ()
    """What the file's conventions changed in the model."""
    anchors: tuple[str, ...] = ()
    """Of each detection head whose anchors are not the file's: which rows it took."""
    measured: str = ""
    """For a file whose BatchNorms are folded away: where their statistics come from."""
    without_statistics: tuple[str, ...] = ()
    """The model's BatchNorms of which the file has no statistics."""
    notes: tuple[str, ...] = ()
    sha256: str | None = None

    @property
    def complete(self) -> bool:
        """All that had to be filled was filled, and nothing of the file went astray."""
        return not (self.missing or self.left_over or self.changed_shape)

    def __str__(self) -> str:
        lines = [
            f"loaded {self.source} ({self.layout} layout, fills the {self.scope}, conventions: {self.conventions})"
        ]
        lines.append(f"  matched        {len(self.matched)} tensors")
        for layer in self.carried_over:
            fresh = f"; fresh: {_some(layer.fresh)}" if layer.fresh else ""
            total = len(layer.taken) + len(layer.fresh)
            lines.append(f"  carried over   {layer.layer}: {len(layer.taken)} of {total} classes{fresh}")
        lines += [f"  anchors        {line}" for line in self.anchors]
        for title, keys in (
            ("missing", self.missing),
            ("left over", self.left_over),
            ("not needed", self.expected_left_over),
            ("fresh", self.fresh),
        ):
            if keys:
                lines.append(f"  {title:<14} {len(keys)}: {_some(keys)}")
        for key, file_shape, model_shape in self.changed_shape:
            lines.append(f"  changed shape  {key}: {list(file_shape)} in the file, {list(model_shape)} in the model")
        lines += [f"  changed        {change}" for change in self.changes]
        if self.measured:
            lines.append(f"  statistics     {self.measured}")
        lines += [f"  note           {note}" for note in self.notes]
        return "\n".join(lines)


def _some(items: tuple[str, ...], limit: int = 4) -> str:
    shown = ", ".join(items[:limit])
    return shown if len(items) <= limit else f"{shown}, … ({len(items) - limit} more)"
