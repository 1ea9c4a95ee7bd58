"""Heads: the last room a picture walks through. Detection, semantic segmentation, classification, embedding."""
