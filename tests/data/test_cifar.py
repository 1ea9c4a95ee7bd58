"""CIFAR in its published binary form, made here byte by byte."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from effdet.data import DataError, DataSpec, EvalSet, open_dataset
from effdet.preprocess import Preprocess

NAMES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
COUNT = 4


def rows(number: int) -> tuple[np.ndarray, list[int]]:
    rng = np.random.default_rng(number)
    return rng.integers(0, 256, (COUNT, 3072), dtype=np.uint8), rng.integers(0, 10, COUNT).tolist()


def write_ten(root: Path) -> Path:
    binary = root / "cifar-10-batches-bin"
    binary.mkdir()
    for number, name in enumerate([*(f"data_batch_{k}" for k in range(1, 6)), "test_batch"]):
        pixels, labels = rows(number)
        records = np.concatenate([np.array(labels, np.uint8)[:, None], pixels], axis=1)
        (binary / f"{name}.bin").write_bytes(records.tobytes())
    (binary / "batches.meta.txt").write_text("\n".join(NAMES) + "\n\n")
    return root


def test_the_folder_or_the_one_that_holds_it(tmp_path):
    write_ten(tmp_path)
    for split, count in (("train", 5 * COUNT), ("test", COUNT)):
        inside, above = (
            open_dataset(DataSpec("cifar10", root=root, split=split))
            for root in (tmp_path / "cifar-10-batches-bin", tmp_path)
        )
        assert len(inside) == count and inside.fingerprint() == above.fingerprint()
        assert inside.classes.names == tuple(NAMES)


@pytest.mark.parametrize(("name", "directory"), [("cifar10", "cifar-10-batches-py"), ("cifar100", "cifar-100-python")])
def test_the_pickled_form_is_refused_with_the_way_out(tmp_path, name, directory):
    (tmp_path / directory).mkdir()
    for root in (tmp_path, tmp_path / directory):
        with pytest.raises(DataError, match=rf"{directory} holds pickles, which are not read; take .* from https"):
            open_dataset(DataSpec(name, root=root))


def test_planes_become_pixels(tmp_path):
    source = open_dataset(DataSpec("cifar10", root=write_ten(tmp_path), split="test"))
    pixels, labels = rows(5)
    record = source.records[2]
    image = source.read_image(record)
    assert image.shape == (32, 32, 3) and image.flags.c_contiguous and record.size == (32, 32)
    assert image[3, 7].tolist() == [int(pixels[2, plane * 1024 + 3 * 32 + 7]) for plane in range(3)]
    assert record.label == labels[2] and not record.has_boxes and len(record.boxes) == 0


def test_val_is_held_out_of_train_and_subsets_keep_their_images(tmp_path):
    write_ten(tmp_path)
    whole = open_dataset(DataSpec("cifar10", root=tmp_path))
    parts = [open_dataset(DataSpec("cifar10", root=tmp_path, split=s, val_fraction=0.3)) for s in ("train", "val")]
    assert sum(map(len, parts)) == len(whole) and all(map(len, parts))
    names = {record.file_name: whole.read_image(record) for record in whole.records}
    for part in parts:
        for record in part.records:
            assert np.array_equal(part.read_image(record), names.pop(record.file_name))
    assert not names
    with pytest.raises(DataError, match=r"val_fraction=0\.1"):
        open_dataset(DataSpec("cifar10", root=tmp_path, split="val"))


def test_evaluation_samples(tmp_path):
    source = open_dataset(DataSpec("cifar10", root=write_ten(tmp_path), split="test", max_images=2))
    sample = EvalSet(source, Preprocess(size=(64, 64), resize="stretch"))[1]
    assert sample.image.shape == (3, 64, 64) and sample.record.label == rows(5)[1][1]


def write_hundred(root: Path, form: str) -> Path:
    directory = root / form
    directory.mkdir()
    for name in ("train", "test"):
        pixels, coarse = rows(len(name))
        fine = [label * 5 for label in coarse]
        labels = np.array([coarse, fine], np.uint8).T
        (directory / f"{name}.bin").write_bytes(np.concatenate([labels, pixels], axis=1).tobytes())
    fine_names, coarse_names = [f"f{k}" for k in range(100)], [f"c{k}" for k in range(20)]
    (directory / "fine_label_names.txt").write_text("\n".join(fine_names))
    (directory / "coarse_label_names.txt").write_text("\n".join(coarse_names))
    return directory


@pytest.mark.parametrize("form", ["cifar-100-binary", "cifar-100-batches-bin"])
def test_cifar100_has_two_levels(tmp_path, form):
    root = write_hundred(tmp_path, form)
    fine = open_dataset(DataSpec("cifar100", root=root, split="test"))
    coarse = open_dataset(DataSpec("cifar100", root=tmp_path, split="test", level="coarse"))
    assert (len(fine.classes), len(coarse.classes)) == (100, 20)
    assert [record.label for record in coarse.records] == rows(4)[1]
    assert [record.label for record in fine.records] == [label * 5 for label in rows(4)[1]]


def test_faults_are_reported(tmp_path):
    root = write_ten(tmp_path) / "cifar-10-batches-bin"
    with pytest.raises(DataError, match=r"cifar-10-batches-bin/ \(test_batch.bin"):
        open_dataset(DataSpec("cifar10", root=tmp_path / "cifar-10-batches-bin" / ".." / ".."))
    test = root / "test_batch.bin"
    content = test.read_bytes()
    test.write_bytes(b"\x0a" + content[1:])
    with pytest.raises(DataError, match="from 0 to 9"):
        open_dataset(DataSpec("cifar10", root=root, split="test"))
    test.write_bytes(content[:-1])
    with pytest.raises(DataError, match="cut off"):
        open_dataset(DataSpec("cifar10", root=root, split="test"))


@pytest.mark.data
def test_the_real_files(data_root):
    """Where somebody has made them: `get_cifar10.py cifar10` beside the other sets."""
    root = data_root / "cifar10"
    if not root.is_dir():
        pytest.skip(f"{root} is not there")
    source = open_dataset(DataSpec("cifar10", root=root, split="test"))
    assert np.bincount(source.records.categories).tolist() == [1000] * 10
