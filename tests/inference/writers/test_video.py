"""Videos that are written are read back: every encoder of the list, sizes, times, faults of the disk."""

from fractions import Fraction

import numpy as np
import pytest

from effdet.inference.sources import VideoSource
from effdet.inference.writers import VideoWriter
from effdet.inference.writers import video as module
from heads.structures import UserError

av = pytest.importorskip("av")
COLOUR = (200, 60, 30)
TIMES = [Fraction(0), Fraction(1, 30), Fraction(1, 2), Fraction(7, 3), Fraction(10)]


def written(path, height=48, width=64, times=TIMES, **options):
    with VideoWriter(path, Fraction(30_000, 1001), **options) as writer:
        for time in times:
            writer.write(np.full((height, width, 3), COLOUR, np.uint8), time)
    return writer


def there(name):
    try:
        av.Codec(name, "w")
    except ValueError:
        return False
    return True


def check(path, count=5, size=(48, 64)):
    with VideoSource(str(path)) as source:
        frames = list(source)
    assert len(frames) == count and not source.damaged
    assert [float(frame.time) for frame in frames] == pytest.approx([float(time) for time in TIMES], abs=1e-3)
    for frame in frames:
        assert frame.image.shape == (*size, 3) and np.abs(frame.image[4:-4, 4:-4].astype(int) - COLOUR).max() < 8


@pytest.mark.parametrize("encoding", [e for e in module.ENCODINGS if there(e.codec)], ids=lambda e: e.codec)
@pytest.mark.parametrize("size", [(48, 64), (47, 63), (1, 1), (300, 18)])
def test_each_encoder_is_the_next_one_of_those_that_are_missing(tmp_path, monkeypatch, encoding, size):
    missing = (module.Encoding("nosuchcodec", ".mp4"), module.Encoding("h264_nvenc", ".mp4"))
    broken = module.Encoding(encoding.codec, encoding.suffix, pixels="rgb48be")  # there, and cannot be opened
    monkeypatch.setattr(module, "ENCODINGS", (*missing, broken, encoding))
    writer = written(tmp_path / "a.mp4", *size)
    assert writer.codec == encoding.codec and writer.path == tmp_path / f"a{encoding.suffix}"
    assert [path.name for path in tmp_path.iterdir()] == [writer.path.name]
    check(writer.path, size=tuple(max(16, side + side % 2) for side in size))


@pytest.mark.parametrize("rate", [Fraction(105_611, 500), Fraction(90_000), Fraction(1, 60), Fraction(30_000, 1001)])
@pytest.mark.parametrize("encoding", [e for e in module.ENCODINGS if there(e.codec)], ids=lambda e: e.codec)
def test_rates_that_forms_do_not_know(tmp_path, monkeypatch, encoding, rate):
    monkeypatch.setattr(module, "ENCODINGS", (encoding,))
    with VideoWriter(tmp_path / "IMG.0123.mp4", rate) as writer:
        for time in TIMES:
            writer.write(np.full((48, 64, 3), COLOUR, np.uint8), time)
    assert writer.path.stem == "IMG.0123"
    check(writer.path)


def test_no_encoder_at_all_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "ENCODINGS", (module.Encoding("nosuchcodec", ".mp4"),))
    with pytest.raises(UserError, match=r"a\.mp4: cannot be written \(nosuchcodec: ") as caught:
        written(tmp_path / "a.mp4")
    assert "\n" not in str(caught.value) and list(tmp_path.iterdir()) == []


def test_a_fallback_writes_over_no_file(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "ENCODINGS", module.ENCODINGS[3:])
    (tmp_path / "a.mkv").write_bytes(b"the user's")
    assert written(tmp_path / "a.mp4").path == tmp_path / "a_2.mkv"
    assert (tmp_path / "a.mkv").read_bytes() == b"the user's"
    check(tmp_path / "a_2.mkv")


def test_pixels_that_are_not_square_stay_so(tmp_path):
    writer = written(tmp_path / "a.mp4", pixel_aspect=Fraction(16, 11))
    with VideoSource(str(writer.path)) as source:
        assert source.pixel_aspect == Fraction(16, 11)


def test_without_a_frame_there_is_no_file(tmp_path):
    written(tmp_path / "a.mp4", times=[])
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_to(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises((UserError, OSError), match=r"file"):
        written(tmp_path / "file" / "a.mp4")
