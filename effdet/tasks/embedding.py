"""Embeddings of whole images: verification and retrieval by distance."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor

from effdet.evaluation import ClassJoin, EmbeddingEvaluator, same_classes
from effdet.tasks.kit import Kit
from heads.embedding import EmbeddingHead
from heads.structures import ClassTable

if TYPE_CHECKING:
    from effdet.data import Dataset


class EmbeddingKit(Kit):
    """A point on the unit sphere for each image. It has no prior: its first loss depends on the angles between random
    directions."""

    head = EmbeddingHead
    label = "identity"
    metric = "recall@1"
    gives = ("embedding",)

    def join(self, classes: ClassTable, source: Dataset) -> ClassJoin:
        """The identities of the data need not be the model's."""
        return same_classes(self.classes(source))

    def evaluator(self, source: Dataset, classes: ClassJoin, *, backend: str = "pycocotools") -> EmbeddingEvaluator:
        return EmbeddingEvaluator()

    def fields(self, predicted: Tensor, row: int) -> dict[str, Any]:
        return {"embedding": predicted[row].float().cpu().numpy()}

    def graph_outputs(self, head: Any, *, nms: bool) -> tuple[str, ...] | None:
        return (self.name,) if isinstance(head, EmbeddingHead) else None
