"""effdet-lightning: detection, segmentation and driving prototypes on EfficientNet and BiFPN."""
