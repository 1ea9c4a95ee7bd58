"""Images without labels: what is found, two views of one geometry as functions of their keys, and images of val among them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from effdet.data import AugmentSpec, TrainLoader
from effdet.data.checks import DataError
from effdet.data.unlabelled import UnlabelledSet, open_unlabelled, shared_images, weak_view
from effdet.preprocess import Preprocess


@pytest.fixture
def pool(tmp_path) -> list[Path]:
    rng = np.random.default_rng(0)
    (tmp_path / "pool" / "deep").mkdir(parents=True)
    paths = [tmp_path / "pool" / name for name in ("a.png", "b.png", "deep/c.png", "deep/grey.png", "e.png")]
    for number, path in enumerate(paths):
        shape = (20 + number, 30) if "grey" in path.name else (20 + number, 30, 3)
        Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8)).save(path)
    return paths


def views(paths, **augment) -> UnlabelledSet:
    source = open_unlabelled(paths, name="pool", on_error="error")
    return UnlabelledSet(source, Preprocess((32, 32)), augment=AugmentSpec(**augment), seed=3)


def test_every_image_is_a_record_without_labels(pool):
    found = open_unlabelled(pool, name="pool", on_error="error")
    assert [record.size for record in found.records] == [(20, 30), (21, 30), (22, 30), (23, 30), (24, 30)]
    assert not found.labelled and [record.image for record in found.records] == pool


def test_the_strong_view_has_the_weak_ones_geometry(pool):
    found = views(pool, hflip=0.5, scale=(0.8, 1.2), colour=1.0, brightness=0.5, mosaic=0.5)
    weak, strong = found[(0, 1)], found.__getitems__([(0, 1)])[1]
    assert weak.image.shape == strong.image.shape == (32, 32, 3)
    assert not np.array_equal(weak.image, strong.image)
    assert np.array_equal(weak.image, found.__getitems__([(0, 1)])[0].image)
    plain = views(pool, hflip=0.5, scale=(0.8, 1.2))
    assert np.array_equal(weak.image, plain[(0, 1)].image), "the weak view has no colours changed and no mosaic"


def test_views_are_functions_of_their_keys(pool):
    found = views(pool, hflip=0.5)
    together = found.__getitems__([(0, 0), (0, 1), (2, 4)])
    assert [sample.index for sample in together] == [0, 1, 4, 0, 1, 4]
    apart = views(pool, hflip=0.5).__getitems__([(2, 4)])
    assert np.array_equal(together[2].image, apart[0].image) and np.array_equal(together[5].image, apart[1].image)
    assert not np.array_equal(together[5].image, found.__getitems__([(3, 4)])[1].image)


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_hold_the_weak_views_first(pool, workers):
    loader = TrainLoader(views(pool), 2, workers=workers)
    loader.set_epoch(1, 1)
    (batch,) = list(loader)
    loader.close()
    assert batch.images.shape == (4, 3, 32, 32)
    assert torch.equal(batch.indices[:2], batch.indices[2:])
    direct = views(pool).__getitems__([(1, int(index)) for index in batch.indices[:2]])
    for image, sample in zip(batch.images, direct, strict=True):
        assert np.array_equal(image.permute(1, 2, 0).numpy(), sample.image)


def test_only_what_moves_pixels_is_weak():
    found = weak_view(AugmentSpec(hflip=0.5, scale=(0.5, 2.0), colour=0.9, mosaic=0.3, erase=0.4, mixup=3.0, blur=1.0))
    assert found == AugmentSpec(name="weak view", hflip=0.5, scale=(0.5, 2.0))


def test_unreadable_images_are_named_or_left_out(pool):
    pool[1].write_bytes(b"not an image")
    pool[4].write_bytes(b"")
    with pytest.raises(DataError) as caught:
        open_unlabelled(pool, name="pool", on_error="error")
    assert "b.png" in str(caught.value) and "e.png" in str(caught.value)
    found = open_unlabelled(pool, name="pool", on_error="warn")
    assert [record.image.name for record in found.records] == ["a.png", "c.png", "grey.png"] and found.warnings


def test_images_of_val_are_found_by_their_bytes(pool, tmp_path):
    copy = tmp_path / "other name.png"
    copy.write_bytes(pool[2].read_bytes())
    own, val = (open_unlabelled(paths, name="x", on_error="error") for paths in (pool, [copy, pool[0]]))
    assert shared_images(own, val) == [str(pool[0]), str(pool[2])]
    assert shared_images(own, open_unlabelled([_other(tmp_path)], name="x", on_error="error")) == []


def _other(tmp_path: Path) -> Path:
    Image.new("RGB", (9, 9)).save(tmp_path / "black.png")
    return tmp_path / "black.png"
