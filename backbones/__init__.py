"""EfficientNet backbones."""
