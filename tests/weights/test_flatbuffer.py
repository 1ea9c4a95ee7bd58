"""The flatbuffer reader on a file that is written here byte by byte, whole and damaged."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from effdet.weights.flatbuffer import FlatbufferError, read_graph


class Writer:
    """Writes a flatbuffer front to back, filling in offsets afterwards: simple, not compact."""

    def __init__(self) -> None:
        self.data = bytearray(b"\0\0\0\0TFL3")

    def align(self) -> int:
        self.data += b"\0" * (-len(self.data) % 8)
        return len(self.data)

    def table(self, fields: dict[int, tuple[str, int | None]]) -> tuple[int, dict[int, int]]:
        """(position, {field: position of its slot}); a value of None is an offset to be patched."""
        count = max(fields, default=-1) + 1
        vtable = self.align()
        self.data += struct.pack("<HH", 4 + 2 * count, 0) + b"\0\0" * count
        start = self.align()
        self.data += struct.pack("<i", start - vtable)
        slots = {}
        for number, (form, value) in fields.items():
            self.data += b"\0" * (-len(self.data) % 4)
            slots[number] = len(self.data)
            struct.pack_into("<H", self.data, vtable + 4 + 2 * number, len(self.data) - start)
            self.data += struct.pack(form, 0 if value is None else value)
        return start, slots

    def point(self, slot: int, target: int) -> None:
        struct.pack_into("<I", self.data, slot, target - slot)

    def vector(self, slot: int, values: np.ndarray) -> None:
        self.align()
        self.data += b"\0" * 4  # so that the numbers after the length are aligned to 8
        self.point(slot, len(self.data))
        self.data += struct.pack("<I", len(values)) + values.tobytes()

    def tables(self, slot: int, count: int) -> list[int]:
        self.align()
        self.point(slot, len(self.data))
        self.data += struct.pack("<I", count)
        slots = [len(self.data) + 4 * index for index in range(count)]
        self.data += b"\0" * (4 * count)
        return slots


def small_file() -> bytes:
    """One int8 tensor (2, 3) with a scale for each row, one computed tensor, one convolution between them."""
    writer = Writer()
    model, slots = writer.table({0: ("<I", 3), 1: ("<I", None), 2: ("<I", None), 4: ("<I", None)})
    writer.point(0, model)
    slot = writer.tables(slots[1], 1)[0]  # an offset only points forwards: the slot comes before its table
    writer.point(slot, writer.table({0: ("<b", 3), 3: ("<i", 3)})[0])
    empty, filled = writer.tables(slots[4], 2)
    writer.point(empty, writer.table({})[0])
    buffer, parts = writer.table({0: ("<I", None)})
    writer.point(filled, buffer)
    writer.vector(parts[0], np.array([[1, 2, 3], [-1, -2, -3]], np.int8).view(np.uint8).ravel())
    slot = writer.tables(slots[2], 1)[0]
    graph, parts = writer.table({0: ("<I", None), 1: ("<I", None), 2: ("<I", None), 3: ("<I", None)})
    writer.point(slot, graph)
    writer.vector(parts[1], np.array([1], np.int32))
    writer.vector(parts[2], np.array([1], np.int32))
    first, second = writer.tables(parts[0], 2)
    operator_slot = writer.tables(parts[3], 1)[0]
    for slot, index in ((first, 1), (second, 0)):
        fields: dict[int, tuple[str, int | None]] = {0: ("<I", None), 1: ("<b", 9), 2: ("<I", index), 3: ("<I", None)}
        tensor, inner = writer.table(fields | ({4: ("<I", None)} if index else {}))
        writer.point(slot, tensor)
        writer.vector(inner[0], np.array([2, 3], np.int32))
        writer.vector(inner[3], np.frombuffer(b"weight" if index else b"answer", np.uint8))
        if index:
            quantisation, deepest = writer.table({2: ("<I", None), 3: ("<I", None), 6: ("<i", 0)})
            writer.point(inner[4], quantisation)
            writer.vector(deepest[2], np.array([0.5, 2.0], np.float32))
            writer.vector(deepest[3], np.array([0, 1], np.int64))
    operator, parts = writer.table({0: ("<I", 0), 1: ("<I", None), 2: ("<I", None)})
    writer.point(operator_slot, operator)
    writer.vector(parts[1], np.array([1, 0], np.int32))
    writer.vector(parts[2], np.array([1], np.int32))
    return bytes(writer.data)


def test_tensors_and_operators(tmp_path: Path) -> None:
    path = tmp_path / "a.tflite"
    path.write_bytes(small_file())
    graph = read_graph(path)
    weight, answer = graph.tensors
    assert (weight.name, weight.shape, weight.dtype) == ("weight", (2, 3), np.int8)
    # (stored - zero point) * scale, row by row: 0.5 * (1 2 3) and 2 * (-1-1 -2-1 -3-1)
    assert weight.dequantised().tolist() == [[0.5, 1.0, 1.5], [-4.0, -6.0, -8.0]]
    assert answer.data is None
    with pytest.raises(FlatbufferError, match="'answer' holds no stored numbers"):
        answer.dequantised()
    (operator,) = graph.operators
    assert (operator.kind, operator.inputs, operator.outputs) == ("CONV_2D", (1, 0), (1,))


def test_every_truncation_is_an_error(tmp_path: Path) -> None:
    whole, path = small_file(), tmp_path / "a.tflite"
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(FlatbufferError):
            read_graph(path)


def test_flipped_bytes_never_read_beyond_the_file(tmp_path: Path) -> None:
    whole, path = small_file(), tmp_path / "a.tflite"
    generator = np.random.default_rng(0)
    for _ in range(300):
        damaged = bytearray(whole)
        for at in generator.integers(8, len(whole), 3):
            damaged[at] = generator.integers(256)
        path.write_bytes(bytes(damaged))
        try:
            for tensor in read_graph(path).tensors:
                if tensor.data is not None:
                    tensor.dequantised()
        except FlatbufferError:
            continue


def test_another_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.tflite").write_bytes(b"PK\x03\x04 a zip file")
    with pytest.raises(FlatbufferError, match="is no TensorFlow Lite file"):
        read_graph(tmp_path / "a.tflite")
