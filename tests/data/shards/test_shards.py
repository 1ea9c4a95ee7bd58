"""Shards against the set they were written from."""

from __future__ import annotations

import dataclasses
import functools
import http.server
import json
import tarfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from effdet.data import AugmentSpec, DataError, Dataset, DataSpec, EvalSet, TrainLoader, TrainSet, open_dataset
from effdet.data.sampling import EpochSampler, streamed_order
from effdet.data.shards import write_shards
from effdet.data.shards.index import load_index, save_index
from effdet.preprocess import Preprocess
from heads.structures import ClassTable

SMALL = 0.006
"""Megabytes: some three images a shard."""
PREPROCESS = Preprocess(size=(64, 64))


@pytest.fixture
def coco(coco_set: Callable[..., Path]) -> Dataset:
    return open_dataset(DataSpec("coco", root=coco_set(10)))


def opened(directory: Path, **changes: Any) -> Any:
    return open_dataset(DataSpec("shards", root=directory, **{"window": 2, **changes}))


@pytest.fixture
def shards(coco: Dataset, tmp_path: Path) -> Path:
    write_shards(coco, tmp_path / "shards", megabytes=SMALL)
    return tmp_path / "shards"


def test_the_same_set_comes_back(coco: Dataset, shards: Path) -> None:
    again = opened(shards)
    assert len(list(shards.glob("*.tar"))) >= 3
    assert again.coco() == coco.coco() and again.classes == coco.classes
    a, b = EvalSet(coco, PREPROCESS), EvalSet(again, PREPROCESS)
    for index in range(len(coco)):
        assert np.array_equal(a[index].image, b[index].image)
        assert np.array_equal(a[index].record.boxes, b[index].record.boxes)
        assert a[index].record.file_name == b[index].record.file_name
    spec = AugmentSpec(scale=(0.5, 1.5), hflip=0.5)
    first, second = (TrainSet(source, PREPROCESS, augment=spec) for source in (coco, again))
    assert np.array_equal(first[3, 4].image, second[3, 4].image)


def test_other_programs_read_the_tars(coco: Dataset, shards: Path) -> None:
    """webdataset's rule: files that follow each other and share what stands before the first dot are one sample."""
    samples: dict[str, dict[str, bytes]] = {}
    for path in sorted(shards.glob("*.tar")):
        with tarfile.open(path) as tar:
            for member in tar:
                key, _, suffix = member.name.partition(".")
                samples.setdefault(key, {})[suffix] = tar.extractfile(member).read()
    assert len(samples) == len(coco)
    for record, sample in zip(coco.records, samples.values(), strict=True):
        assert sample["png"] == record.image.read_bytes()
        assert json.loads(sample["json"])["boxes"] == record.boxes.tolist()


def test_writing_twice_gives_the_same_bytes(coco: Dataset, shards: Path, tmp_path: Path) -> None:
    write_shards(coco, tmp_path / "again", megabytes=SMALL)
    for path in shards.iterdir():
        if path.suffix == ".tar":
            assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes()


def test_shuffled_before_writing(coco: Dataset, tmp_path: Path) -> None:
    write_shards(coco, tmp_path / "mixed", megabytes=SMALL, shuffle=1)
    again = opened(tmp_path / "mixed")
    assert sorted(again.records.image_ids) == list(coco.records.image_ids) != list(again.records.image_ids)
    by_name = {record.file_name: record for record in coco.records}
    for record in again.records:
        assert np.array_equal(record.boxes, by_name[record.file_name].boxes)
        assert np.array_equal(again.read_image(record), coco.read_image(by_name[record.file_name]))


def test_masks_grey_images_and_images_that_are_no_files(tmp_path: Path) -> None:
    class Drawn(Dataset):
        def read_image(self, record: Any, **_: Any) -> np.ndarray:
            return np.full((6, 8, 3), record.image_id, np.uint8)

        def read_mask(self, record: Any) -> np.ndarray | None:
            return np.full((6, 8), record.image_id % 2, np.uint8) if record.image_id != 2 else None

    from tests.data.test_records import record

    records = [dataclasses.replace(record(number, []), width=8, height=6, label=number % 2) for number in range(1, 5)]
    table = ClassTable.of(["x", "y"])
    source = Drawn(
        records, table, name="drawn", split="train", labelled=("semantic", "category"), semantic_classes=table
    )
    write_shards(source, tmp_path)
    again = opened(tmp_path)
    assert again.labelled == {"semantic", "category"} and again.semantic_classes == table
    for before, after in zip(source.records, again.records, strict=True):
        assert np.array_equal(source.read_image(before), again.read_image(after)) and before.label == after.label
        a, b = source.read_mask(before), again.read_mask(after)
        assert a is b is None or np.array_equal(a, b)


@pytest.mark.parametrize("world", [1, 2, 3])
@pytest.mark.parametrize("window", [1, 3, 99])
def test_the_order_of_an_epoch(world: int, window: int) -> None:
    groups = np.repeat(np.arange(7), [5, 1, 4, 4, 6, 2, 3])
    orders = [
        streamed_order(groups, seed=3, epoch=2, rank=rank, world=world, window=window)[:, 0] for rank in range(world)
    ]
    joined = np.concatenate(orders)
    assert len(np.unique(joined)) == len(joined) == world * (25 // world), "each image once, all ranks as many"
    for order in orders:
        files = groups[order]
        last = {number: np.flatnonzero(files == number)[-1] for number in np.unique(files)}
        for at in range(len(files)):  # files begun and not ended: never more than the window
            begun = {number for number in last if np.flatnonzero(files == number)[0] <= at <= last[number]}
            assert len(begun) <= window
    again = streamed_order(groups, seed=3, epoch=2, rank=0, world=world, window=window)[:, 0]
    other = streamed_order(groups, seed=3, epoch=3, rank=0, world=world, window=window)[:, 0]
    assert np.array_equal(again, orders[0]) and not np.array_equal(other, orders[0])


def test_rare_images_come_more_often_in_shards_too() -> None:
    factors = np.array([1, 1, 3.0, 1, 1])
    order = streamed_order(np.arange(5), seed=0, epoch=0, rank=0, world=1, window=2, factors=factors)
    assert np.bincount(order[:, 0]).tolist() == [1, 1, 3, 1, 1]
    assert sorted(order[order[:, 0] == 2, 1]) == [0, 1, 2]


@pytest.mark.parametrize("workers", [0, 2])
def test_an_epoch_goes_on_in_mid_shard(shards: Path, workers: int) -> None:
    """Batches of a resumed epoch are those of the uninterrupted one, to the bit, mosaic and all."""

    def batches(first: int, workers: int) -> list[Any]:
        train_set = TrainSet(opened(shards), PREPROCESS, augment=AugmentSpec(mosaic=0.5, scale=(0.5, 2.0)), seed=5)
        loader = TrainLoader(train_set, 1, workers=workers, rank=1, world=2)
        loader.set_epoch(4, first)
        return list(loader)

    whole, rest = batches(0, 0), batches(2, workers)
    assert (len(whole), len(rest)) == (5, 3)
    for a, b in zip(whole[2:], rest, strict=True):
        assert torch.equal(a.images, b.images) and torch.equal(a.indices, b.indices)
        assert torch.equal(a.targets.boxes, b.targets.boxes)


def test_ranks_read_their_own_shards(shards: Path) -> None:
    source = opened(shards)
    seen = []
    for rank in range(2):
        sampler = EpochSampler(len(source), 1, seed=0, rank=rank, world=2, groups=source.groups, window=source.window)
        sampler.set_epoch(1)
        seen.append({index for batch in sampler for _, index, _ in batch})
    files = [{int(source.groups[index]) for index in part} for part in seen]
    assert not seen[0] & seen[1] and len(files[0] & files[1]) <= 1


def test_a_mosaic_stays_in_its_shard(shards: Path) -> None:
    source = opened(shards)
    for index in range(len(source)):
        low, high = source.beside(index)
        assert low <= index < high
        assert set(source.groups[low:high]) == {source.groups[index]}
    assert opened(shards, max_images=4).beside(0)[1] <= 4
    assert source.subset([5, 0]).beside(0) == (0, 2)


def test_subsets_and_held_out_parts(shards: Path) -> None:
    train, val = (opened(shards, val_fraction=0.4, split=split) for split in ("train", "val"))
    assert len(train) + len(val) == 10 and len(val) > 0
    for source in (train, val):
        for record in source.records:
            assert source.read_image(record).shape == (48, 64, 3)


def test_the_fingerprint_tells_orders_apart(coco: Dataset, shards: Path) -> None:
    prints = {opened(shards).fingerprint(), opened(shards, window=3).fingerprint(), coco.fingerprint()}
    assert len(prints) == 3 and opened(shards).fingerprint() in prints


def test_missing_and_cut_shards_are_reported_before_work(shards: Path) -> None:
    tars = sorted(shards.glob("*.tar"))
    tars[0].unlink()
    tars[1].write_bytes(tars[1].read_bytes()[:-512])
    with pytest.raises(DataError, match=r"2 problems \(1 × missing-shard, 1 × damaged-shard\)"):
        opened(shards)
    with pytest.raises(DataError, match=r"no val\.index\.npz \(effdet shards writes it\) under"):
        opened(shards, split="val")
    with pytest.raises(DataError, match=r"data.root=DIR or with data.url"):
        open_dataset(DataSpec("shards"))


def changed(shards: Path, edit: Callable[[dict[str, Any]], Any]) -> None:
    path = shards / "train.index.npz"
    with np.load(path) as stored:
        arrays = dict(stored)
    about = json.loads(arrays["about"].tobytes())
    edit(about)
    arrays["about"] = np.frombuffer(json.dumps(about).encode(), np.uint8)
    np.savez(path, **arrays)


@pytest.mark.parametrize("name", ["../train-000000.tar", "/etc/passwd.tar", "a/b.tar", "a\\b.tar", "", "x.zip", ".."])
def test_shards_outside_of_the_folder_are_refused(shards: Path, name: str) -> None:
    changed(shards, lambda about: about["shards"][0].update(file=name))
    with pytest.raises(DataError, match="must be a plain name"):
        opened(shards)


def test_places_outside_of_a_shard_are_refused(shards: Path) -> None:
    index = load_index(shards / "train.index.npz")
    for name, value in (("offset", 10**9), ("length", 2**62), ("shard", 99), ("offset", -1), ("mask_offset", 2**62)):
        values = getattr(index, name).copy()
        values[-1] = value
        save_index(dataclasses.replace(index, **{name: values}), shards / "train.index.npz")
        with pytest.raises(DataError, match="damaged, or no index of shards"):
            opened(shards)


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_indexes(shards: Path, data: st.DataObject) -> None:
    path = shards / "train.index.npz"
    whole = path.read_bytes()
    content = bytearray(whole)
    for _ in range(data.draw(st.integers(0, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.sampled_from([0, 1, 39, 57, 127, 255]))
    path.write_bytes(bytes(content[: data.draw(st.integers(0, len(content)))]) if data.draw(st.booleans()) else content)
    try:
        source = opened(shards)
        for record in source.records:
            source.read_image(record)
    except DataError as error:
        assert len(str(error).splitlines()) <= 12
    finally:
        path.write_bytes(whole)


def test_an_index_with_code_is_refused(shards: Path) -> None:
    np.savez(shards / "train.index.npz", about=np.array([object()], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match="damaged, or no index"):
        opened(shards)


@pytest.fixture
def served(shards: Path) -> Iterator[tuple[str, list[str]]]:
    asked: list[str] = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args: Any) -> None:
            asked.append(self.path)

    handler = functools.partial(Handler, directory=str(shards))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}", asked
        server.shutdown()


def test_streamed_from_an_address(
    coco: Dataset, shards: Path, served: tuple[str, list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fetched when needed, once, and no more kept than the bound; a tampered shard is refused."""
    monkeypatch.setenv("EFFDET_CACHE", str(tmp_path / "cache"))
    url, asked = served
    size = max(path.stat().st_size for path in shards.glob("*.tar"))
    source = open_dataset(DataSpec("shards", url=url, cache_gb=2.2 * size / 1e9, window=1))
    assert not any(path.endswith(".tar") for path in asked), "nothing is fetched before it is needed"
    for before, after in zip(coco.records, source.records, strict=True):
        assert np.array_equal(coco.read_image(before), source.read_image(after))
    fetched = [path for path in asked if path.endswith(".tar")]
    assert len(fetched) == len(set(fetched)) == len(list(shards.glob("*.tar"))) > 2
    kept = list((tmp_path / "cache").rglob("*.tar"))
    assert sum(path.stat().st_size for path in kept) <= 2.2 * size
    victim = shards / "train-000000.tar"
    content = bytearray(victim.read_bytes())
    content[700] ^= 1
    victim.write_bytes(content)
    for path in kept:
        path.unlink()
    fresh = open_dataset(DataSpec("shards", url=url, cache_gb=1))
    with pytest.raises(DataError, match="sha256"):
        fresh.read_image(fresh.records[0])
    with pytest.raises(DataError, match="404"):
        open_dataset(DataSpec("shards", url=url, split="val"))


def test_open_files_are_bounded(coco: Dataset, tmp_path: Path) -> None:
    write_shards(coco, tmp_path / "many", megabytes=1e-6)
    source = opened(tmp_path / "many")
    from effdet.data.shards import read

    max_images, read._OPEN_FILES = read._OPEN_FILES, 3
    try:
        for record in source.records:
            source.read_image(record)
        assert len(source._files) == 3
    finally:
        read._OPEN_FILES = max_images
