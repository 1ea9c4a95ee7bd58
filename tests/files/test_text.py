"""Text: byte order marks, UTF-16, and one error for all else."""

import codecs

import pytest

from effdet.files import FileError, read_json, read_lines, read_text
from heads.structures import UserError

TEXT = "car\r\nFußgänger\n日本"


@pytest.mark.parametrize(
    "content",
    [
        TEXT.encode(),
        codecs.BOM_UTF8 + TEXT.encode(),
        codecs.BOM_UTF16_LE + TEXT.encode("utf-16-le"),
        codecs.BOM_UTF16_BE + TEXT.encode("utf-16-be"),
        codecs.BOM_UTF32_LE + TEXT.encode("utf-32-le"),
    ],
    ids=["utf-8", "bom", "utf-16-le", "utf-16-be", "utf-32"],
)
def test_encodings(tmp_path, content):
    path = tmp_path / "classes.txt"
    path.write_bytes(content)
    assert read_text(path) == TEXT
    assert read_lines(path) == ["car", "Fußgänger", "日本"]


def test_latin1_names_file_byte_and_fix(tmp_path):
    path = tmp_path / "classes.txt"
    path.write_bytes("car\nFußgänger\n".encode("latin-1"))
    with pytest.raises(FileError) as caught:
        read_text(path)
    text = str(caught.value)
    assert isinstance(caught.value, UserError) and "\n" not in text
    assert str(path) in text and "0xdf" in text and "position 6 (line 2)" in text and "UTF-8" in text


def test_utf16_without_mark_is_an_error(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes("car".encode("utf-16-le"))
    with pytest.raises(FileError, match="NUL"):
        read_text(path)


def test_a_cut_off_utf16_file_is_an_error(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(codecs.BOM_UTF16_LE + b"c\0a\0r")
    with pytest.raises(FileError, match="UTF-16"):
        read_text(path)


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(FileError, match="no such file"):
        read_text(tmp_path / "a.txt")
    with pytest.raises(FileError, match="cannot be read"):
        read_text(tmp_path)


def test_only_line_ends_end_lines(tmp_path):
    path = tmp_path / "list.txt"
    path.write_text("a\x0cb\u2028c\x85d\n\ne", "utf-8")
    assert read_lines(path) == ["a\x0cb\u2028c\x85d", "", "e"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_json(tmp_path, encoding):
    path = tmp_path / "a.json"
    path.write_bytes('{"a": ["ß", 1]}'.encode(encoding))
    assert read_json(path) == {"a": ["ß", 1]}


@pytest.mark.parametrize("content", [b'{"a": "\xdf"}', b"{", b"[" * 100_000])
def test_bad_json_is_one_line(tmp_path, content):
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(FileError) as caught:
        read_json(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)
