"""EfficientNet backbones: ``create("b3")(images) -> [C1, C2, C3, C4, C5]``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from backbones.efficientnet import EfficientNet
    from backbones.spec import BackboneSpec

__all__ = ["create", "list_names"]


def create(name_or_spec: str | BackboneSpec, **overrides: Any) -> EfficientNet:
    """A backbone with fresh weights.

    Args:
        name_or_spec: a name of :func:`list_names` (``b0``, ``lite3``, ``v2_s``, ``tf_efficientnet_b0``, ...) or a spec.
        overrides: fields of :class:`backbones.spec.BackboneSpec`, such as ``attention="eca"`` or ``drop_path=0.1``.
    """
    from backbones.efficientnet import EfficientNet
    from backbones.scaling import backbone_spec
    from backbones.spec import BackboneSpec

    if isinstance(name_or_spec, str):
        return EfficientNet(backbone_spec(name_or_spec, **overrides))
    spec = name_or_spec
    if overrides:
        spec = BackboneSpec.from_dict({**spec.to_dict(), **overrides})
    return EfficientNet(spec)


def list_names() -> list[str]:
    """All names that :func:`create` knows."""
    from backbones.scaling import names

    return names()
