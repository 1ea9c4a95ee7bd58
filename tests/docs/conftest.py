"""A run of a few steps on four images, for the pages' commands."""

from __future__ import annotations

from pathlib import Path

import pytest

from effdet.cli.app import COMMANDS, run
from tests.cli.conftest import small_coco

__all__ = ["small_coco"]

TINY = (
    "phi=-4",
    "image_size=64",
    "weights=none",
    "trainer.max_epochs=1",
    "batch_size=2",
    "workers=0",
    "progress=false",
)
"""Overrides of a training that takes seconds."""


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory, small_coco: Path) -> Path:
    directory = tmp_path_factory.mktemp("tiny") / "run"
    test = (
        f"data.test_images={small_coco}/val2017",
        f"data.test_annotations={small_coco}/annotations/instances_val2017.json",
    )
    run(COMMANDS["train"], [*TINY, "data=coco", f"data.root={small_coco}", *test, f"run_dir={directory}"])
    return directory
