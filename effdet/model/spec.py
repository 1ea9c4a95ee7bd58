"""A model described by plain values: enough to build it anew, and what a checkpoint or a model file holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

from backbones.spec import AnyBackboneSpec, backbone_from_dict
from effdet.model.balance import BalanceSpec
from effdet.necks import NeckSpec
from effdet.plugins import TARGET
from effdet.preprocess import Preprocess
from effdet.renamed import renew
from heads.structures import ClassTable, UserError

FORMAT = 1
"""Version of the dictionary below; raised when an old reader could misread a new file."""


EXTERNAL = "external"
"""Kind of a head of the user's own."""


@dataclass(frozen=True)
class HeadSpec:
    """A head by kind (a key of ``effdet.model.heads.KINDS`` or :data:`EXTERNAL`) and its keyword arguments, plain values."""

    kind: str
    options: Mapping[str, Any] = field(default_factory=dict)
    target: str | None = None
    """Of an external head: the dotted name of its class."""
    kit: Mapping[str, Any] | None = None
    """Of an external head: its kit, a mapping with a ``_target_``."""

    def to_dict(self) -> dict[str, Any]:
        values = {"kind": self.kind, "options": dict(self.options)}
        if self.target is not None:
            values |= {TARGET: self.target} | ({} if self.kit is None else {"kit": dict(self.kit)})
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        return cls(values["kind"], values["options"], values.get(TARGET), values.get("kit"))


@dataclass(frozen=True)
class ModelSpec:
    """Backbone, neck, heads and preprocessing."""

    name: str
    backbone: AnyBackboneSpec
    heads: Mapping[str, HeadSpec]
    """By head name; the outputs of the model have these names."""
    classes: Mapping[str, ClassTable]
    """The meaning of each head's logits."""
    preprocess: Preprocess
    neck: NeckSpec | None = None
    balance: BalanceSpec = field(default_factory=BalanceSpec)
    """How the heads' losses are weighed against each other."""

    def __post_init__(self) -> None:
        if set(self.heads) != set(self.classes):
            raise UserError(
                f"model {self.name!r} has heads {sorted(self.heads)} but classes for {sorted(self.classes)}"
            )

    def replace(self, **changes: Any) -> Self:
        return replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able values; :meth:`from_dict` gives the equal spec."""
        return {
            "format": FORMAT,
            "name": self.name,
            "backbone": self.backbone.to_dict(),
            "neck": None if self.neck is None else self.neck.to_dict(),
            "heads": {name: head.to_dict() for name, head in self.heads.items()},
            "classes": {name: table.to_dict() for name, table in self.classes.items()},
            "preprocess": self.preprocess.to_dict(),
            "balance": self.balance.to_dict(),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Raises UserError where a part is missing or a newer version wrote it."""
        values = renew(values)
        if (version := values.get("format")) != FORMAT:
            raise UserError(
                f"this model description has format {version!r}, this version reads {FORMAT}; update effdet"
            )
        parts = ("name", "backbone", "heads", "classes", "preprocess")
        if missing := [part for part in parts if part not in values]:
            raise UserError(f"this model description lacks {', '.join(missing)}; it is not whole")
        neck, balance = values.get("neck"), values.get("balance")
        return cls(
            name=values["name"],
            backbone=backbone_from_dict(values["backbone"]),
            heads={name: HeadSpec.from_dict(head) for name, head in values["heads"].items()},
            classes={name: ClassTable.from_dict(table) for name, table in values["classes"].items()},
            preprocess=Preprocess.from_dict(values["preprocess"]),
            neck=None if neck is None else NeckSpec.from_dict(neck),
            balance=BalanceSpec() if balance is None else BalanceSpec.from_dict(balance),
        )
