"""A pickle is a program: none but the one that a published set needs may run."""

from __future__ import annotations

import collections
import contextlib
import os
import pickle
import pickletools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from effdet.data import DataError
from effdet.data.safe_pickle import byte_array, load

quick = settings(max_examples=200, deadline=None, derandomize=True)
ROWS = np.arange(12, dtype=np.uint8).reshape(3, 4)


class Runs:
    """Unpickles into a call."""

    def __init__(self, function, *values):
        self.call = (function, values)

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", range(2, 6))
def test_arrays_of_every_protocol_come_back(protocol):
    found = load(pickle.dumps({b"data": ROWS, b"labels": [1, 2, 3]}, protocol=protocol), where="x")
    assert np.array_equal(byte_array(found["data"], (3, 4), where="x"), ROWS)
    assert found["labels"] == [1, 2, 3]


def test_python_2s_form_comes_back():
    # What cPickle of Python 2 wrote for {'data': array, 'labels': [6]}, protocol 2: byte strings, numpy.core.
    program = (
        b"\x80\x02}q\x01(U\x04dataq\x02cnumpy.core.multiarray\n_reconstruct\nq\x03cnumpy\nndarray\nq\x04K\x00\x85U\x01b\x87Rq\x05"
        b"(K\x01K\x01K\x02\x86cnumpy\ndtype\nq\x06U\x02u1K\x00K\x01\x87Rq\x07(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xff"
        b"K\x00tb\x89U\x02\x05\x09tbU\x06labelsq\x08]q\tK\x06au."
    )
    found = load(program, where="x")
    assert byte_array(found["data"], (1, 2), where="x").tolist() == [[5, 9]]
    assert found["labels"] == [6]


@pytest.mark.parametrize(
    "value",
    [
        Runs(os.system, "touch CANARY"),
        Runs(eval, "open('CANARY', 'w')"),
        Runs(getattr, "text", "format"),
        Runs(__import__, "os"),
        collections.OrderedDict(data=ROWS),
        np.float64(3.0),
        Path("x"),
        {"data": np.array([Runs(os.system, "touch CANARY")], object)},
    ],
)
def test_whatever_else_is_named_is_refused(value, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="refused"):
        load(pickle.dumps(value), where="x")
    assert not list(tmp_path.iterdir())


def test_an_admitted_name_cannot_be_changed_for_the_next_reader():
    # ndarray, then BUILD with (None, {"__call__": 1}): sets attributes of what the name stands for.
    program = b"\x80\x04cnumpy\nndarray\nN}\x8c\x08__call__K\x01s\x86b."
    with pytest.raises(DataError, match="refused"):
        load(program, where="x")
    assert np.array_equal(byte_array(load(pickle.dumps({"data": ROWS}), where="x")["data"], (3, 4), where="x"), ROWS)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (ROWS.astype(np.float32), "bytes of shape"),
        (ROWS.reshape(4, 3), "bytes of shape"),
        (np.asfortranarray(ROWS), "refused"),
        ([1, 2], "found list"),
    ],
)
def test_another_array_is_refused(value, words):
    with pytest.raises(DataError, match=words):
        byte_array(load(pickle.dumps({"data": value}), where="x")["data"], (3, 4), where="x")


def test_no_dictionary_and_no_end():
    with pytest.raises(DataError, match="has a dictionary"):
        load(pickle.dumps([1]), where="x")
    for content in (b"", b"\x80\x04", b"junk", pickle.dumps({"data": ROWS})[:-9]):
        with pytest.raises(DataError):
            load(content, where="x")


whole = pickle.dumps({b"data": ROWS, b"labels": [1, 2, 3]}, protocol=2)
codes = st.sampled_from([code.code.encode("latin1") for code in pickletools.opcodes])


@quick
@given(st.integers(0, len(whole) - 1), st.lists(codes | st.binary(max_size=4), max_size=6))
def test_damaged_pickles_give_a_dictionary_or_a_data_error(place, inserted):
    program = whole[:place] + b"".join(inserted) + whole[place + len(inserted) :]
    try:
        found = load(program, where="x")
        byte_array(found.get("data"), (3, 4), where="x")
    except DataError:
        pass


@quick
@given(st.lists(codes | st.binary(max_size=6), max_size=20))
def test_any_program_gives_a_dictionary_or_a_data_error(parts):
    with contextlib.suppress(DataError):
        load(b"\x80\x04" + b"".join(parts), where="x")
