"""Names: what is hidden, what bytes survive, how two files of one name are distinguished."""

import os
import subprocess
import sys

import pytest
from PIL import Image

from effdet.files import decode_name, distinct_names, encode_name, image_suffixes, is_hidden, is_image, shown


@pytest.mark.parametrize(
    "name",
    [
        ".a.jpg",
        "._a.jpg",
        ".DS_Store",
        "Thumbs.db",
        "THUMBS.DB",
        "desktop.ini",
        "__MACOSX",
        ".ipynb_checkpoints",
        "@eaDir",
    ],
)
def test_hidden_names(name):
    assert is_hidden(name)


@pytest.mark.parametrize("name", ["a.jpg", "_a.jpg", "thumbs.jpg", "MACOSX", "a.DS_Store", "…jpg"])
def test_names_that_are_not_hidden(name):
    assert not is_hidden(name)


def test_a_name_that_is_not_utf8_survives_and_can_be_printed(tmp_path):
    raw = b"caf\xe9.jpg"
    with open(os.path.join(os.fsencode(tmp_path), raw), "wb"):
        pass
    (name,) = os.listdir(tmp_path)
    assert encode_name(name) == raw and decode_name(raw) == name
    assert shown(name) == "caf\\xe9.jpg"
    shown(name).encode()


def test_shown_leaves_letters_and_escapes_control_characters():
    assert shown("ÄÖ 日本 [1] #%.jpg") == "ÄÖ 日本 [1] #%.jpg"
    assert shown("a\nb\x1b[31m.jpg") == "a\\x0ab\\x1b[31m.jpg"
    assert shown("half \ud800") == "half \\xed\\xa0\\x80"


def test_distinct_names():
    paths = ["a/x.jpg", "b/x.png", "c/X.jpg", "d/x_2.jpg", "e/.jpg", "f/y.tar.gz"]
    assert distinct_names(paths, ".jpg") == ["x.jpg", "x_3.jpg", "X_4.jpg", "x_2.jpg", ".jpg.jpg", "y.tar.jpg"]


def test_suffixes_are_those_that_pillow_decodes(tmp_path):
    """Each format that Pillow can write and read is written, and found by its name."""
    assert {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".webp", ".tif", ".gif", ".mpo"} <= image_suffixes()
    assert not {".txt", ".pdf", ".mp4", ".mpg", ".h5", ".eps", ".xml", ".json"} & image_suffixes()
    Image.init()
    image, tried = Image.new("RGB", (16, 16), (200, 30, 40)), 0
    for suffix, form in Image.registered_extensions().items():
        path = tmp_path / f"a{suffix}"
        try:
            image.save(path)
            with Image.open(path) as written:
                written.load()
        except (OSError, ValueError, KeyError):
            continue
        tried += 1
        assert is_image(path) and is_image(str(path).upper()), f"{suffix} ({form})"
    assert tried >= 20


def test_no_torch():
    code = "import effdet.files, sys; assert not {'torch', 'numpy', 'PIL', 'yaml'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
