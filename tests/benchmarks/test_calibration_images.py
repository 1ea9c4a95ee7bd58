import numpy as np
import torch
from PIL import Image

from benchmarks.calibration_images import matching, starting_images, write
from effdet.model import build, spec_for
from effdet.weights.statistics import COLUMNS, ROWS, SIDE


def test_images_come_nearer_to_the_statistics_that_a_network_holds(tmp_path):
    torch.manual_seed(0)
    network = build(spec_for(task="detection", phi=-4, num_classes=2, image_size=64)).eval().requires_grad_(False)
    for layer in network.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.get_buffer("running_mean").normal_(0, 0.1)
    start = starting_images(ROWS * COLUMNS, 64)
    assert start.shape == (8, 3, 64, 64) and start.min() >= 0 and start.max() <= 1
    images, misfits = matching([network], start, steps=20)
    falling = [sum(misfits[step : step + 5]) for step in range(0, 20, 5)]  # each step draws other rounding
    assert falling == sorted(falling, reverse=True) and misfits[-1] < misfits[0] - 0.05
    write(np.tile(images, (1, 1, SIDE // 64, SIDE // 64)), tmp_path / "a.jpg")
    assert Image.open(tmp_path / "a.jpg").size == (COLUMNS * SIDE, ROWS * SIDE)
