"""Reading the pickles of published sets without running what they say.

A pickle is a program: it may call any function that it can name. This reader admits the names that an array of bytes needs
and no other, and behind each name stands a stand-in of ours, so that no pickled value ever reaches numpy's own code. The
stand-ins have no attributes that a pickle could change.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np

from effdet.data.checks import DataError

MAX_BYTES = 1 << 30
"""Larger files are refused: the largest of the sets read here has 150 MB."""


class _Call:
    """What an admitted name stands for: it can be called, and nothing else."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable[..., Any]) -> None:
        object.__setattr__(self, "_function", function)

    def __call__(self, *values: Any) -> Any:
        return self._function(*values)

    def __setattr__(self, name: str, value: Any) -> None:
        raise pickle.UnpicklingError(f"sets {name!r} of a function")


class _Dtype:
    """A pickled ``numpy.dtype``."""

    __slots__ = ("name",)

    def __init__(self, name: Any, *_: Any) -> None:
        self.name = name.decode("latin1") if isinstance(name, bytes) else name

    def __setstate__(self, state: Any) -> None:
        """Byte order, alignment and fields: an array of single bytes has none that matter."""


class _Array:
    """A pickled ``numpy.ndarray``: shape and bytes."""

    __slots__ = ("content", "dtype", "shape")

    def __init__(self, *_: Any) -> None:
        self.shape, self.dtype, self.content = (), None, b""

    def __setstate__(self, state: Any) -> None:
        _, self.shape, self.dtype, in_columns, self.content = state
        if in_columns:
            raise pickle.UnpicklingError("an array stored by columns")


def _frombuffer(content: Any, dtype: Any, shape: Any, order: Any) -> _Array:
    array = _Array()
    array.__setstate__((1, shape, dtype, order != "C", content))
    return array


def _encode(text: Any, encoding: Any = None) -> bytes:
    if not isinstance(text, str) or encoding not in ("latin1", b"latin1"):
        raise pickle.UnpicklingError("text in an unexpected encoding")
    return text.encode("latin1")


_ADMITTED: dict[tuple[str, str], Callable[..., Any]] = {
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _Array for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): _frombuffer for core in ("core", "_core")},
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
    ("_codecs", "encode"): _encode,
}


class _Reader(pickle.Unpickler):
    def find_class(self, module_name: str, global_name: str, /) -> Any:
        function = _ADMITTED.get((module_name, global_name))
        if function is None:
            raise pickle.UnpicklingError(f"names {module_name}.{global_name}, which no array of bytes needs")
        return _Call(function)


def load(content: bytes, *, where: str) -> dict[str, Any]:
    """The dictionary that a pickle holds, with text for keys that are bytes (Python 2 wrote those).

    Args:
        content: of the file.
        where: its name, for errors.

    Raises:
        DataError: it is no pickle, no dictionary, or names anything but arrays of bytes.
    """
    if len(content) > MAX_BYTES:
        raise DataError(f"{where}: {len(content):,} bytes are more than any file of this set has")
    try:
        value = _Reader(io.BytesIO(content), encoding="bytes").load()
    except RecursionError:
        raise DataError(f"{where}: not a pickle of this set (nested too deeply)") from None
    except Exception as error:  # a pickle's code raises whatever it likes
        raise DataError(f"{where}: refused: not a pickle of this set ({_line(error)})") from None
    if not isinstance(value, dict):
        raise DataError(f"{where}: holds a {type(value).__name__} where this set has a dictionary")
    return {key.decode("latin1") if isinstance(key, bytes) else str(key): entry for key, entry in value.items()}


def byte_array(value: Any, shape: tuple[int, int], *, where: str) -> np.ndarray:
    """A loaded array of `shape` as uint8.

    Raises:
        DataError: it is another one.
    """
    dtype = getattr(getattr(value, "dtype", None), "name", None)
    if not isinstance(value, _Array) or dtype not in ("u1", "uint8") or value.shape != shape:
        found = f"{dtype} of {value.shape}" if isinstance(value, _Array) else type(value).__name__
        raise DataError(f"{where}: must hold bytes of shape {shape}, found {found}")
    content: Any = value.content
    if not isinstance(content, (bytes, bytearray)) or len(content) != shape[0] * shape[1]:
        raise DataError(f"{where}: its array of shape {shape} is not whole")
    return np.frombuffer(content, np.uint8).reshape(shape)


def _line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}"[:120]
