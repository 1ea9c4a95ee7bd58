"""Addresses without their secrets, and names that look like patterns. Expected values are written by hand."""

from pathlib import Path

import pytest

from effdet.addresses import (
    is_address,
    is_pattern,
    matches,
    shown_values,
    without_credentials,
    without_credentials_in,
)


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("rtsp://admin:s3cret@192.168.1.20:554", "rtsp://192.168.1.20:554"),
        ("rtsp://admin:s3cret@192.168.1.20:554/Streaming/Channels/101", "rtsp://192.168.1.20:554/Streaming/Channels/101"),
        ("rtsp://admin:p@s3cret@cam/live", "rtsp://cam/live"),
        ("rtsp://admin:s3cret/x@cam:554/live", "rtsp://cam:554/live"),
        ("rtsp://admin:s3#cret?x@cam:554", "rtsp://cam:554"),
        ("rtsp://cam:554/user=admin&password=s3cret&channel=1/0.sdp", "rtsp://cam:554/0.sdp"),
        ("https://s3cret@host/a.mp4", "https://host/a.mp4"),
        ("https://host/a.mp4?token=s3cret#s3cret", "https://host/a.mp4"),
        ("https://b.s3.amazonaws.com/k/v.mp4?X-Amz-Credential=AKIA&X-Amz-Signature=s3cret", "https://b.s3.amazonaws.com/k/v.mp4"),
        ("s3://AKIA:s3cret@bucket/key", "s3://bucket/key"),
        ("http://[2001:db8::1]:8080/x", "http://[2001:db8::1]:8080/x"),
        ("http://u:s3cret@[2001:db8::1]:8080/x", "http://[2001:db8::1]:8080/x"),
        ("https://host/date=2024-01-01/part", "https://host/date=2024-01-01/part"),
        ("https://host/@someone/clip.mp4", "https://host/@someone/clip.mp4"),
        ("C:/Users/me@home/a.jpg", "C:/Users/me@home/a.jpg"),
        ("a=b@c.jpg", "a=b@c.jpg"),
    ],
)  # fmt: skip
def test_what_is_left_of_an_address(address, shown):
    assert without_credentials(address) == shown
    assert without_credentials(shown) == shown


def test_addresses_inside_of_a_text():
    text = "source=rtsp://u:s3cret@h:1/x: refused (https://h/y?sig=s3cret), hf_s3cret123456; proxy http://me:s3cret@p:3128."
    assert without_credentials_in(text) == "source=rtsp://h:1/x: refused (https://h/y), hf_…; proxy http://p:3128."
    assert shown_values({"data": {"url": "https://u:s3cret@h/x"}, "list": ["a", 1]}) == {
        "data": {"url": "https://h/x"}, "list": ["a", 1]
    }  # fmt: skip


def test_what_is_an_address():
    assert is_address("rtsp://h") and is_address("s3://b/k") and not is_address("C://x") and not is_address("a:b.mp4")


NAMES = [
    "My trip [dQw4w9WgXcQ].mp4",
    "a*b?.jpg",
    "50%20 off #1.jpg",
    "a=1, b=2.jpg",
    "straße 日本.jpg",
    "[0-9].png",
    "12:30.jpg",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_a_name_before_it_is_a_pattern(tmp_path, name):
    (tmp_path / name).touch()
    (tmp_path / "5.png").touch()
    assert not is_pattern(str(tmp_path / name))
    assert matches(str(tmp_path / name)) == [tmp_path / name]


def test_leading_folders_that_exist_are_names(tmp_path, monkeypatch):
    directory = tmp_path / "Trip [2024] *"
    (directory / "deep" / ".hidden").mkdir(parents=True)
    for name in ("b.jpg", "a.jpg", ".c.jpg", "deep/d.jpg", "deep/.hidden/e.jpg"):
        (directory / name).touch()
    (tmp_path / "Trip 2").mkdir()
    (tmp_path / "Trip 2" / "no.jpg").touch()
    assert is_pattern(str(directory / "*.jpg"))
    assert matches(str(directory / "*.jpg")) == [directory / "a.jpg", directory / "b.jpg"]
    assert matches(str(directory / "**/*.jpg")) == [directory / "a.jpg", directory / "b.jpg", directory / "deep/d.jpg"]
    monkeypatch.chdir(directory)
    assert matches("*.jpg") == [Path("a.jpg"), Path("b.jpg")] and matches("./*.tif") == []
