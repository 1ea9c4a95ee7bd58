"""Which class of the model is which class of the data: joined by name, never by number.

Two tables of the same 80 classes rarely agree in ids, and evaluating across that difference silently gives an AP near zero.
So names decide, by the rule of :mod:`heads.class_names`. An empty join is refused.
"""

from __future__ import annotations

from dataclasses import dataclass

from rich.table import Table
from rich.text import Text

from heads.class_names import same_names
from heads.structures import ClassTable, UserError


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
    """Join two class tables by name (:func:`heads.class_names.same_names`).

    Raises:
        UserError: no class in common.
    """
    result = ClassJoin(model_classes, data_classes, same_names(model_classes.names, data_classes.names))
    if set(result.to_data) <= {-1}:
        raise UserError(
            f"model and data have no class in common: the model knows {_some(result.dropped)}, "
            f"the data {_some(result.missing)}; evaluate on data with the model's classes, or rename the data's categories"
        )
    return result


def _some(names: tuple[str, ...], most: int = 6) -> str:
    return ", ".join(names[:most]) + (f", … ({len(names)} in all)" if len(names) > most else "") or "none"
