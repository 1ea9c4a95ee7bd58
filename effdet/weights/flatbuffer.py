"""A small reader of TensorFlow Lite files: tensors, quantisation, operators. Nothing is executed, nothing is imported.

A flatbuffer is a tree of tables addressed by byte offsets. Every offset and length that the file states is checked against
the file before it is followed, so that a truncated or forged file gives :class:`FlatbufferError` and never reads beyond it.
Layout: the FlatBuffers binary format; field numbers: TensorFlow Lite's ``schema.fbs``, version 3.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from heads.structures import UserError

_DTYPES: dict[int, type] = {
    0: np.float32,
    1: np.float16,
    2: np.int32,
    3: np.uint8,
    4: np.int64,
    6: np.bool_,
    7: np.int16,
    9: np.int8,
    10: np.float64,
}
_OPERATORS = {0: "ADD", 1: "AVERAGE_POOL_2D", 2: "CONCATENATION", 3: "CONV_2D", 4: "DEPTHWISE_CONV_2D", 6: "DEQUANTIZE"}
_OPERATORS |= {
    14: "LOGISTIC",
    17: "MAX_POOL_2D",
    22: "RESHAPE",
    32: "CUSTOM",
    97: "RESIZE_NEAREST_NEIGHBOR",
    114: "QUANTIZE",
}
_MAX_RANK = 8


class FlatbufferError(UserError):
    """The file is not a readable TensorFlow Lite file."""


@dataclass(frozen=True)
class LiteTensor:
    """One tensor of the graph; `data` is None where it is computed when the graph runs."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype
    data: np.ndarray | None
    scale: np.ndarray
    """(0,) when not quantised, (1,) per tensor, (channels,) per channel of `axis`; float32."""
    zero_point: np.ndarray
    axis: int

    def dequantised(self) -> np.ndarray:
        """The stored numbers as float32: ``(stored - zero point) * scale``."""
        if self.data is None:
            raise FlatbufferError(f"tensor {self.name!r} holds no stored numbers")
        if self.scale.size == 0:
            return self.data.astype(np.float32)
        shape = [1] * self.data.ndim
        if self.scale.size > 1:
            if not 0 <= self.axis < self.data.ndim or self.data.shape[self.axis] != self.scale.size:
                raise FlatbufferError(f"tensor {self.name!r} has {self.scale.size} scales for shape {self.shape}")
            shape[self.axis] = self.scale.size
        zero = self.zero_point if self.zero_point.size == self.scale.size else np.zeros(self.scale.size, np.int64)
        values = self.data.astype(np.float64) - zero.reshape(shape)
        return (values * self.scale.astype(np.float64).reshape(shape)).astype(np.float32)


@dataclass(frozen=True)
class LiteOperator:
    """One node of the graph. Inputs and outputs are tensor indices, -1 for an input left out."""

    kind: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


@dataclass(frozen=True)
class LiteGraph:
    """The first subgraph of a file, operators in running order."""

    tensors: tuple[LiteTensor, ...]
    operators: tuple[LiteOperator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


def read_graph(path: str | Path) -> LiteGraph:
    """Read a ``.tflite`` file."""
    data = Path(path).read_bytes()
    if len(data) < 8 or data[4:8] != b"TFL3":
        raise FlatbufferError(f"{path} is no TensorFlow Lite file: bytes 4-7 must be 'TFL3'")
    try:
        return _graph(_Bytes(data))
    except FlatbufferError as error:
        raise FlatbufferError(f"{path} is truncated or damaged: {error}") from None


class _Bytes:
    """Checked little-endian reads."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self._left = 16 * len(data) + 65536

    def read(self, form: str, at: int) -> int:
        if at < 0 or at + struct.calcsize(form) > len(self.data):
            raise FlatbufferError(f"offset {at} lies outside its {len(self.data)} bytes")
        return struct.unpack_from(form, self.data, at)[0]

    def span(self, at: int, length: int) -> memoryview:
        if at < 0 or length < 0 or at + length > len(self.data):
            raise FlatbufferError(f"{length} bytes at offset {at} lie outside its {len(self.data)} bytes")
        # Nothing forbids many tables to share one long vector: a small file would take for ever.
        self._left -= length
        if self._left < 0:
            raise FlatbufferError("its parts overlap many times over")
        return memoryview(self.data)[at : at + length]

    def follow(self, at: int) -> int:
        return at + self.read("<I", at)


class _Table:
    """A table: its start holds the distance back to its vtable, which holds each field's offset (0: left out)."""

    def __init__(self, source: _Bytes, at: int) -> None:
        self.source, self.at = source, at
        self.vtable = at - source.read("<i", at)
        self.vtable_size = source.read("<H", self.vtable)

    def field(self, number: int) -> int | None:
        slot = 4 + 2 * number
        if slot + 2 > self.vtable_size:
            return None
        offset = self.source.read("<H", self.vtable + slot)
        return self.at + offset if offset else None

    def number(self, number: int, form: str, default: int = 0) -> int:
        at = self.field(number)
        return default if at is None else self.source.read(form, at)

    def array(self, number: int, dtype: type) -> np.ndarray:
        """A vector of plain numbers."""
        at = self.field(number)
        if at is None:
            return np.zeros(0, dtype)
        start = self.source.follow(at)
        size = self.source.read("<I", start)
        return np.frombuffer(self.source.span(start + 4, size * np.dtype(dtype).itemsize), dtype)

    def text(self, number: int) -> str:
        return self.array(number, np.uint8).tobytes().decode("utf-8", "replace")

    def tables(self, number: int) -> list[_Table]:
        """A vector of tables."""
        at = self.field(number)
        if at is None:
            return []
        start = self.source.follow(at)
        size = self.source.read("<I", start)
        self.source.span(start + 4, 4 * size)
        return [_Table(self.source, self.source.follow(start + 4 + 4 * index)) for index in range(size)]

    def table(self, number: int) -> _Table | None:
        at = self.field(number)
        return None if at is None else _Table(self.source, self.source.follow(at))


def _graph(source: _Bytes) -> LiteGraph:
    model = _Table(source, source.follow(0))
    codes = [_operator_name(table) for table in model.tables(1)]
    subgraphs = model.tables(2)
    buffers = model.tables(4)
    if not subgraphs:
        raise FlatbufferError("it has no graph")
    graph = subgraphs[0]
    tensors = tuple(_tensor(table, buffers) for table in graph.tables(0))
    return LiteGraph(
        tensors=tensors,
        operators=tuple(_operator(table, codes, len(tensors)) for table in graph.tables(3)),
        inputs=_indices(graph.array(1, np.int32), len(tensors)),
        outputs=_indices(graph.array(2, np.int32), len(tensors)),
    )


def _operator_name(table: _Table) -> str:
    # Codes below 127 were first kept in a byte; newer writers fill both fields.
    code = max(table.number(0, "<b"), table.number(3, "<i"))
    return _OPERATORS.get(code, f"OPERATOR_{code}") if code != 32 else table.text(1)


def _operator(table: _Table, codes: list[str], tensors: int) -> LiteOperator:
    code = table.number(0, "<I")
    if code >= len(codes):
        raise FlatbufferError(f"an operator has code {code} of {len(codes)}")
    inputs, outputs = table.array(1, np.int32), table.array(2, np.int32)
    return LiteOperator(codes[code], _indices(inputs, tensors), _indices(outputs, tensors))


def _indices(values: np.ndarray, count: int) -> tuple[int, ...]:
    indices = tuple(int(value) for value in values)
    if any(index < -1 or index >= count for index in indices):
        raise FlatbufferError(f"tensor indices {indices} must be below {count}")
    return indices


def _tensor(table: _Table, buffers: list[_Table]) -> LiteTensor:
    name = table.text(3)
    shape = tuple(int(size) for size in table.array(0, np.int32))
    code = table.number(1, "<b")
    if code not in _DTYPES or len(shape) > _MAX_RANK or any(size < 0 for size in shape):
        raise FlatbufferError(f"tensor {name!r} has element type {code} and shape {shape}")
    dtype = np.dtype(_DTYPES[code])
    index = table.number(2, "<I")
    if index >= len(buffers):
        raise FlatbufferError(f"tensor {name!r} names buffer {index} of {len(buffers)}")
    raw = buffers[index].array(0, np.uint8)
    data = None
    if raw.size:
        if raw.size != dtype.itemsize * int(np.prod(shape, dtype=np.int64)):
            raise FlatbufferError(f"tensor {name!r} of shape {shape} holds {raw.size} bytes")
        data = raw.view(dtype).reshape(shape)
    quantisation = table.table(4)
    scale = np.zeros(0, np.float32) if quantisation is None else quantisation.array(2, np.float32)
    zero = np.zeros(0, np.int64) if quantisation is None else quantisation.array(3, np.int64)
    axis = 0 if quantisation is None else quantisation.number(6, "<i")
    return LiteTensor(name, shape, dtype, data, scale, zero, axis)
