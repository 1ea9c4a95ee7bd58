"""Heads: the last room an image walks through. Detection, semantic segmentation, classification, embedding."""
