"""EfficientNet (Tan and Le, 2019), EfficientNet-Lite and EfficientNetV2 (Tan and Le, 2021) as a feature pyramid.

The network walks through its stem and stages; each time the next stage halves the image, what has been computed so
far is a feature: C1 ... C5 at strides 2, 4, 8, 16, 32. They are block outputs, that is linear (no activation after a
projection), which is where EfficientDet takes them. The 1x1 convolution and the dense layer of the classifier are a
head (``heads.classification``), not part of the backbone.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import cast

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from backbones.layers import ConvNormAct, initialise
from backbones.mbconv import BLOCKS
from backbones.spec import BackboneSpec
from backbones.torch_internals import BatchNorm


class EfficientNet(nn.Module):
    """A backbone built from `spec`, with weights drawn as the reference implementation draws them.

    Attributes:
        channels: widths of C1 ... C5.
        strides: (2, 4, 8, 16, 32).
        grad_checkpointing: keep only the blocks' inputs in training and compute the rest again on the way back; about a
            third more time for a fraction of the memory.
    """

    strides = (2, 4, 8, 16, 32)

    def __init__(self, spec: BackboneSpec) -> None:
        super().__init__()
        self.spec = spec
        self.channels = spec.channels
        self.grad_checkpointing = False
        conventions = spec.conventions
        self.stem = ConvNormAct(3, spec.stem_channels, 3, stride=2, conventions=conventions)
        self.stages = nn.ModuleList()
        width, index = spec.stem_channels, 0
        for stage in spec.stages:
            blocks = nn.ModuleList()
            for repeat in range(stage.repeats):
                blocks.append(
                    BLOCKS[stage.op](
                        width,
                        stage.channels,
                        stage.kernel,
                        stride=stage.stride if repeat == 0 else 1,
                        expansion=stage.expansion,
                        attention=spec.attention_of(stage),
                        se_ratio=stage.se_ratio,
                        conventions=conventions,
                        drop_path=spec.drop_path * index / spec.blocks,
                        skip=stage.skip,
                    )
                )
                width, index = stage.channels, index + 1
            self.stages.append(blocks)
        initialise(self)

    def forward(self, images: Tensor) -> list[Tensor]:
        """(B, 3, H, W) float images -> [C1 ... C5], each (B, channels[i], ceil(H / stride), ceil(W / stride))."""
        checkpointed = self.grad_checkpointing and self.training and torch.is_grad_enabled()
        features = []
        x = self.stem(images)
        for stage, blocks in zip(self.spec.stages, self.stages, strict=True):
            if stage.stride == 2:
                features.append(x)
            for block in cast(nn.ModuleList, blocks):
                x = _checkpointed(block, x) if checkpointed else block(x)
        features.append(x)
        return features


def _checkpointed(block: nn.Module, x: Tensor) -> Tensor:
    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), _statistics_kept(block)

    if torch.compiler.is_compiling():  # the compiler takes no Python contexts
        return checkpoint(block, x, use_reentrant=False)
    return checkpoint(block, x, use_reentrant=False, context_fn=contexts)


@contextmanager
def _statistics_kept(block: nn.Module) -> Iterator[None]:
    """Without it the second pass would count each batch twice in BatchNorm's running statistics.

    Momentum 0 rather than no statistics at all: the second pass has to save as many tensors as the first.
    """
    norms = [layer for layer in block.modules() if isinstance(layer, BatchNorm)]
    before = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        norm.momentum, norm.num_batches_tracked = 0.0, None
    try:
        yield
    finally:
        for norm, (momentum, count) in zip(norms, before, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, count
