"""Which class of the model is which class of the data: joined by name, never by number.

Two tables of the same 80 classes rarely agree in ids, and evaluating across that difference silently gives an AP near zero.
So names decide, compared without case, spaces, ``_`` and ``-``; a few pairs of names that old sets use for one thing are
listed in `ALIASES`. An empty join is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rich.table import Table
from rich.text import Text

from heads.structures import ClassTable, UserError

ALIASES: Mapping[str, str] = {
    # Pascal VOC's and Cityscapes' words on the left, COCO's on the right, as `normalised` leaves them.
    "motorbike": "motorcycle",
    "aeroplane": "airplane",
    "sofa": "couch",
    "tvmonitor": "tv",
}


def normalised(name: str) -> str:
    """A name without case, spaces, ``_`` and ``-``, after aliases: ``Potted_Plant`` and ``pottedplant`` are one."""
    plain = "".join(letter for letter in name.casefold() if letter not in " _-")
    return ALIASES.get(plain, plain)


@dataclass(frozen=True)
class ClassJoin:
    """For each class of the model its class in the data."""

    model: ClassTable
    data: ClassTable
    to_data: tuple[int, ...]
    """One entry per logit of the model: index of the data's class, or -1 where the data has none (dropped)."""

    @property
    def missing(self) -> tuple[str, ...]:
        """Names of the data that the model lacks: they count, and score 0."""
        known = set(self.to_data)
        return tuple(str(name) for index, name in enumerate(self.data.names) if index not in known)

    @property
    def dropped(self) -> tuple[str, ...]:
        """Names of the model that the data lacks: their predictions are left out."""
        pairs = zip(self.model.names, self.to_data, strict=True)
        return tuple(name for name, index in pairs if index < 0 and name is not None)

    @property
    def exact(self) -> bool:
        """True where model and data have the same classes in the same order."""
        return self.to_data == tuple(range(len(self.data)))

    def __str__(self) -> str:
        joined = len(set(self.to_data) - {-1})
        text = f"{joined} of the data's {len(self.data)} classes are known to the model"
        if self.missing:
            text += f"; it lacks {_some(self.missing)} (scores 0)"
        if self.dropped:
            text += f"; {len(self.dropped)} of its classes are not in the data and are dropped: {_some(self.dropped)}"
        return text

    def table(self) -> Table:
        """One row a class: the data's name and id, the model's name, or what becomes of it."""
        table = Table(
            "data", "id", "model", title="classes joined by name", caption=Text(str(self)), title_style="bold"
        )
        table.columns[1].justify = "right"
        source: dict[int, list[str]] = {}
        for name, index in zip(self.model.names, self.to_data, strict=True):
            source.setdefault(index, []).append(str(name))
        for index, (name, own) in enumerate(zip(self.data.names, self.data.ids, strict=True)):
            found = Text(", ".join(source[index])) if index in source else Text("— (scores 0)", "red")
            table.add_row(Text(str(name)), str(own), found)
        return table


def join(model_classes: ClassTable, data_classes: ClassTable) -> ClassJoin:
    """Join two class tables by name; an equal spelling goes before a normalised one.

    Two classes of the data whose names are one after normalising (``a`` and ``A``) are two classes: each is joined by its
    exact name, and a class of the model that has neither name exactly is joined with the one that no other class has, if
    that is only one. A class of the data that has its exact name in the model is joined with that one alone.

    Raises:
        UserError: no class in common.
    """
    exact = {name: index for index, name in enumerate(data_classes.names) if name is not None}
    known = {name for name in model_classes.names if name is not None}
    loose: dict[str, list[int]] = {}
    for name, index in exact.items():
        if name not in known:
            loose.setdefault(normalised(name), []).append(index)

    def find(name: str | None) -> int:
        if name is None:
            return -1
        if name in exact:
            return exact[name]
        near = loose.get(normalised(name), [])
        return near[0] if len(near) == 1 else -1

    result = ClassJoin(model_classes, data_classes, tuple(find(name) for name in model_classes.names))
    if set(result.to_data) <= {-1}:
        raise UserError(
            f"model and data have no class in common: the model knows {_some(result.dropped)}, "
            f"the data {_some(result.missing)}; evaluate on data with the model's classes, or rename the data's categories"
        )
    return result


def _some(names: tuple[str, ...], most: int = 6) -> str:
    return ", ".join(names[:most]) + (f", … ({len(names)} in all)" if len(names) > most else "") or "none"
