"""Whatever bytes stand in a weight file, a UserError is the only thing that comes out, and no more memory than it has bytes."""

from __future__ import annotations

import contextlib
import io
import json
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save as safetensors_bytes

import effdet
from effdet.model import build, spec_for
from effdet.training import CheckpointError, newest_valid, read_checkpoint, write_checkpoint
from effdet.training.replay import KIND, read_nonfinite_step
from effdet.weights.api import build_described
from effdet.weights.flatbuffer import FlatbufferError, _Bytes, read_graph
from effdet.weights.read import BoundsError, read_weights
from heads.structures import UserError
from tests.weights.test_flatbuffer import small_file

quick = settings(
    max_examples=80, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
plain = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 2**65) | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=8,
)


HEADS = [b"", b"PK\x03\x04", b"\x80\x02", b"\0\0\0\0TFL3", struct.pack("<Q", 40) + b"{"]
"""How zip, pickle, tflite and safetensors files begin."""


def torch_bytes(value: Any, *, legacy: bool = False) -> bytes:
    file = io.BytesIO()
    torch.save(value, file, _use_new_zipfile_serialization=not legacy)
    return file.getvalue()


WHOLE = {
    "zip": torch_bytes({"state_dict": {"a.weight": torch.arange(12.0).reshape(3, 4)}, "step": 3}),
    "legacy": torch_bytes({"a.weight": torch.arange(12.0)}, legacy=True),
    "safetensors": safetensors_bytes({"a.weight": torch.arange(12.0)}, {"effdet": json.dumps({"spec": {"format": 1}})}),
    "tflite": small_file(),
}


def damaged(data: st.DataObject, content: bytes) -> bytes:
    """Some bytes changed, and perhaps the end cut off."""
    changed = bytearray(content)
    for _ in range(data.draw(st.integers(0, 6))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.sampled_from([0, 1, 127, 128, 255]))
    return bytes(changed[: data.draw(st.integers(0, len(changed)))]) if data.draw(st.booleans()) else bytes(changed)


@quick
@given(data=st.data(), kind=st.sampled_from(list(WHOLE)))
def test_damaged_weight_files(tmp_path: Path, data: st.DataObject, kind: str) -> None:
    path = tmp_path / "file.bin"
    path.write_bytes(damaged(data, WHOLE[kind]))
    for read in (read_weights, effdet.load):
        try:
            read(path)
        except UserError as error:
            assert len(str(error).splitlines()) == 1


@quick
@given(data=st.data())
def test_damaged_flatbuffers(tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "a.tflite"
    path.write_bytes(damaged(data, WHOLE["tflite"]))
    try:
        graph = read_graph(path)
    except FlatbufferError:
        return
    for tensor in graph.tensors:
        with contextlib.suppress(FlatbufferError):
            tensor.dequantised()


@quick
@given(
    st.binary(max_size=60),
    st.sampled_from([b"", b"PK\x03\x04", b"\x80\x02", b"\0\0\0\0TFL3", struct.pack("<Q", 40) + b"{"]),
)
def test_bytes(tmp_path: Path, content: bytes, head: bytes) -> None:
    path = tmp_path / "file.ckpt"
    path.write_bytes(head + content)
    for read in (read_weights, read_checkpoint, read_nonfinite_step):
        with pytest.raises(UserError):
            read(path)


@quick
@given(plain)
def test_any_plain_content(tmp_path: Path, content: Any) -> None:
    """A whole file of other contents than ours."""
    path = tmp_path / "file.ckpt"
    path.write_bytes(torch_bytes(content))
    for read in (read_weights, read_nonfinite_step, effdet.load):
        with pytest.raises(UserError):
            read(path)
    path.write_bytes(
        torch_bytes({"spec": content, "state_dict": {"a": torch.zeros(2)}, "kind": KIND, "batches": content})
    )
    for read in (read_nonfinite_step, effdet.load):
        with pytest.raises(UserError):
            read(path)


def _spec() -> dict[str, Any]:
    return json.loads(json.dumps(spec_for(task="detection", phi=-4, num_classes=2, image_size=64).to_dict()))


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a nest of mappings and lists."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place for key, inner in items for place in [(*path, key), *_places(inner, (*path, key))]]


SPEC = _spec()
PLACES = _places(SPEC)


@quick
@given(
    place=st.sampled_from(PLACES),
    value=st.sampled_from([None, -1, 0, 2**40, 1e300, float("nan"), "x", [], {}, [[]], True]),
)
def test_changed_descriptions(place: tuple[Any, ...], value: Any) -> None:
    spec = json.loads(json.dumps(SPEC))
    inner = spec
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    try:
        build_described(spec, {"a": torch.zeros(3_000_000)}, "a file")
    except BoundsError as error:
        assert len(str(error).splitlines()) == 1


def test_a_description_of_a_giant_is_refused() -> None:
    spec = json.loads(json.dumps(SPEC))
    spec["neck"]["channels"] = 60000
    with pytest.raises(BoundsError, match="describes a model of .* numbers, and holds far fewer"):
        build_described(spec, {"a": torch.zeros(10)}, "a file")
    assert build_described(SPEC, {"a": torch.zeros(1_000_000)}, "a file").spec.to_dict() == SPEC


def test_a_file_that_unpacks_to_far_more(tmp_path: Path) -> None:
    """torch.load would unpack compressed entries: a megabyte of zeros a kilobyte."""
    small, bomb = io.BytesIO(WHOLE["zip"]), tmp_path / "bomb.ckpt"
    with zipfile.ZipFile(small) as source, zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as target:
        for entry in source.infolist():
            target.writestr(entry.filename, source.read(entry))
        target.writestr("archive/data/1", bytes(50_000_000))
    assert bomb.stat().st_size < 100_000
    with pytest.raises(BoundsError, match="compressed archive"):
        read_weights(bomb)
    with pytest.raises(CheckpointError, match="compressed archive"):
        read_checkpoint(bomb)


@pytest.mark.parametrize("trust", [False, True])
def test_one_number_stretched_to_a_terabyte(trust: bool, tmp_path: Path) -> None:
    path = tmp_path / "stretched.pt"
    torch.save({"a": torch.zeros(1).expand(2**20, 2**20)}, path)
    assert path.stat().st_size < 10_000
    with pytest.raises(BoundsError, match="larger than the file it comes from"):
        read_weights(path, trust=trust)


@pytest.mark.parametrize("tensor", [torch.eye(3).to_sparse(), torch.empty(3, device="meta")], ids=["sparse", "meta"])
def test_odd_tensors(tensor: torch.Tensor, tmp_path: Path) -> None:
    path = tmp_path / "odd.pt"
    torch.save({"a": tensor}, path)
    with pytest.raises(UserError, match=r"sparse|truncated|code"):
        read_weights(path)


def test_no_reader_runs_the_code_of_a_file(tmp_path: Path) -> None:
    """weights, checkpoints, kept steps, resumes; zip and old form. Only trust=true would."""
    proof = tmp_path / "proof"

    class Evil:
        def __reduce__(self) -> Any:
            return Path.touch, (proof,)

    for legacy in (False, True):
        path = tmp_path / "checkpoints" / "last.ckpt"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(
            torch_bytes({"state_dict": {"a": torch.zeros(2)}, "extra": Evil(), "kind": KIND}, legacy=legacy)
        )
        for read in (read_weights, read_checkpoint, read_nonfinite_step, effdet.load):
            with pytest.raises(UserError):
                read(path)
        with pytest.raises(UserError):
            effdet.load(tmp_path)
        if not legacy:
            found = newest_valid(tmp_path)
            assert found == path, "its bytes are whole; reading it is what is refused"
    assert not proof.exists()
    read_weights(path, trust=True)
    assert proof.exists()


def test_shared_vectors_do_not_multiply(tmp_path: Path) -> None:
    """Ten thousand tensors that share one name of 100 kB: a gigabyte, were it copied."""
    content = bytearray(small_file())
    name = len(content)
    content += struct.pack("<I", 100_000) + b"x" * 100_000

    source = _Bytes(bytes(content))
    with pytest.raises(FlatbufferError, match="overlap"):
        for _ in range(10_000):
            source.span(name + 4, 100_000)


def test_round_trips_stay_within_the_bounds(tmp_path: Path) -> None:
    model = build(spec_for(task="detection", phi=-4, num_classes=2, image_size=64))
    effdet.save(model, tmp_path / "m.safetensors")
    again = effdet.load(tmp_path / "m.safetensors")
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), again.state_dict().values(), strict=True))
    path = write_checkpoint(tmp_path / "a.ckpt", {"x": np.arange(5), "tied": [torch.ones(4)] * 2})
    assert torch.equal(read_checkpoint(path)["x"], torch.arange(5))
