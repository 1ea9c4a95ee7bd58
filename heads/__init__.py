"""Heads, the last stage of a model: detection, semantic segmentation, classification, embedding."""
