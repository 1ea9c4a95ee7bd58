"""The last layers of the heads, whose rows are classes: taken over by name where the two class tables differ."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from effdet.model import VisionModel
from effdet.weights.class_tables import is_unnamed, matching_rows
from effdet.weights.report import CarriedOver
from heads.detection import DetectionHead
from heads.prior import initial_rows
from heads.protocol import RowsByClass
from heads.structures import ClassTable


@dataclass
class ClassRows:
    """What became of the class layers: tensors to load in place of the file's, and what to say."""

    tensors: dict[str, Tensor] = field(default_factory=dict)
    carried: list[CarriedOver] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def fit_class_layers(
    model: VisionModel, state: Mapping[str, Tensor], own: Mapping[str, Tensor], tables: Mapping[str, ClassTable]
) -> ClassRows:
    """Bring the file's class rows to the model's classes.

    Where the tables agree, or one of them only counts and both have the same number, the rows stay as they are. Else each
    class of the model that the file also names gets the file's rows. The others start at the head's prior
    (:func:`heads.prior.initial_rows`), whatever the size of the file's features.

    Args:
        state: The file's tensors under our names.
        own: The model's tensors.
        tables: The file's class tables by head name, where they are known.
    """
    result = ClassRows()
    for head, module in model.heads.items():
        per_cell = module.anchor_spec.per_cell if isinstance(module, DetectionHead) else 1
        target, source = model.spec.classes[head], tables.get(head)
        for layer in getattr(module, "class_layers", ()):
            prefix = f"heads.{head}.{layer}."
            keys = [key for key in _last_keys(own, prefix) if key in state]
            if not keys:
                continue
            count = state[keys[0]].shape[0] // per_cell
            if source is not None and len(source) != count:
                result.notes.append(
                    f"{prefix.rstrip('.')} has {count} classes in the file, not the {len(source)} of its conventions: "
                    "their names are unknown"
                )
                source = None
            if _aligned(target, source, state[keys[0]], own[keys[0]]):
                if source is None and not is_unnamed(target):
                    result.notes.append(
                        f"the file names no classes; its {len(target)} rows were taken in the model's order"
                    )
                continue
            rows = matching_rows(target, source) if source is not None else {}
            for key in keys:
                start = own[key].detach().clone()
                if isinstance(module, RowsByClass):  # else a head of the user's own, which keeps its first values
                    start = initial_rows(start, module.prior, loaded=True)
                result.tensors[key] = _carried(state[key], start, rows, count, len(target), per_cell)
            named = [row for row, name in enumerate(target.names) if name is not None]
            taken = tuple(str(target.names[row]) for row in named if row in rows)
            fresh = tuple(str(target.names[row]) for row in named if row not in rows)
            result.carried.append(CarriedOver(prefix.rstrip("."), taken, fresh))
    return result


def _last_keys(own: Mapping[str, Tensor], prefix: str) -> list[str]:
    """Weight and bias of the very last layer below `prefix`: of a separable convolution, the pointwise one."""
    keys = [key for key in own if key.startswith(prefix) and ".depthwise." not in key]
    return sorted(keys, reverse=True)  # weight before bias


def _aligned(target: ClassTable, source: ClassTable | None, theirs: Tensor, ours: Tensor) -> bool:
    if theirs.shape != ours.shape:
        return False
    if source is None or is_unnamed(target) or is_unnamed(source):
        return True
    if len(target) != len(source) or target.named != source.named:
        return False
    return matching_rows(target, source) == {row: row for row, named in enumerate(target.named) if named}


def _carried(
    theirs: Tensor, start: Tensor, rows: Mapping[int, int], file_classes: int, model_classes: int, per_cell: int
) -> Tensor:
    """Rows of `theirs` (per_cell * file classes, …) put into `start` where the model has these classes.

    Output channel = anchor * classes + class.
    """
    fits = theirs.shape[1:] == start.shape[1:] and theirs.shape[0] == per_cell * file_classes
    if not rows or not fits:
        return start
    result = start.reshape(per_cell, model_classes, *start.shape[1:])
    source = theirs.reshape(per_cell, file_classes, *theirs.shape[1:]).to(result)
    to = torch.tensor(list(rows), device=result.device)
    result[:, to] = source[:, torch.tensor(list(rows.values()), device=result.device)]
    return result.reshape(start.shape)
