"""Necks: BiFPN, and FPN, PANet and Quad-FPN as its alternatives."""

from effdet.necks.pyramid import FeaturePyramid, NeckSpec
from effdet.necks.topology import Node, topology

__all__ = ["FeaturePyramid", "NeckSpec", "Node", "topology"]
