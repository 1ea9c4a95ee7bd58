"""Reading and writing videos: a round trip, times, odd sizes, faults."""

import threading
from fractions import Fraction
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from effdet.inference.sources import VideoSource
from effdet.inference.writers import VideoWriter
from heads.structures import UserError

pytest.importorskip("av")


def image(index, height=48, width=64):
    image = np.full((height, width, 3), 40, np.uint8)
    image[10:30, 4 * index : 4 * index + 20] = (230, 200, 30)
    return image


def written(path, rate, count=8, times=None, **size):
    with VideoWriter(path, Fraction(rate)) as writer:
        for index in range(count):
            writer.write(image(index, **size), None if times is None else times[index])
    return path


@pytest.mark.parametrize("rate", [Fraction(25), Fraction(30000, 1001), Fraction(10)])
def test_round_trip(tmp_path, rate):
    with VideoSource(str(written(tmp_path / "a.mp4", rate))) as source:
        assert (source.rate, source.frames, source.name, source.live) == (rate, 8, "a", False)
        frames = list(source)
    assert [frame.index for frame in frames] == list(range(8))
    assert [float(frame.time) for frame in frames] == pytest.approx([n / float(rate) for n in range(8)], abs=1e-4)
    for index, frame in enumerate(frames):
        assert frame.image.shape == (48, 64, 3) and frame.image.dtype == np.uint8
        assert np.abs(frame.image.astype(int) - image(index)).mean() < 8
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.mp4"]


def test_uneven_times_are_kept(tmp_path):
    times = [Fraction(n, 100) for n in (50, 54, 60, 61, 90)]
    with VideoSource(str(written(tmp_path / "a.mp4", 25, 5, times))) as source:
        found = [float(frame.time) for frame in source]
    assert found == pytest.approx([0, 0.04, 0.1, 0.11, 0.4], abs=1e-4)


def test_odd_sides_grow_by_a_pixel(tmp_path):
    with VideoSource(str(written(tmp_path / "a.mp4", 25, 2, height=47, width=63))) as source:
        assert next(iter(source)).image.shape == (48, 64, 3)


def test_an_interruption_leaves_a_video_that_plays(tmp_path):
    with pytest.raises(KeyboardInterrupt), VideoWriter(tmp_path / "a.mp4", Fraction(25)) as writer:
        for index in range(4):
            writer.write(image(index))
        raise KeyboardInterrupt
    with VideoSource(str(tmp_path / "a.mp4")) as source:
        assert len(list(source)) == 4


def test_frames_of_another_size_are_fitted_into_the_first(tmp_path):
    with VideoWriter(tmp_path / "a.mp4", Fraction(25)) as writer:
        writer.write(image(0))
        writer.write(np.full((24, 64, 3), 200, np.uint8))  # as wide, half as high: bars above and below
        writer.write(np.full((96, 128, 3), 200, np.uint8))
    with VideoSource(str(tmp_path / "a.mp4")) as source:
        images = [frame.image.astype(int) for frame in source]
    assert [image.shape for image in images] == [(48, 64, 3)] * 3
    assert images[1][:10].max() < 30 and images[1][14:34].min() > 170 and images[1][38:].max() < 30
    assert images[2].min() > 170


def test_over_http(tmp_path):
    written(tmp_path / "a.mp4", 25)

    class Quiet(SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=tmp_path)

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Quiet)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        url = f"http://127.0.0.1:{server.server_port}"
        with VideoSource(f"{url}/a.mp4?x=1") as source:
            assert source.live and source.name == "a" and len(list(source)) == 8
        with pytest.raises(UserError, match=r"source=.*/b\.mp4: cannot be opened as a video \(.*404") as caught:
            VideoSource(f"{url}/b.mp4")
        assert "\n" not in str(caught.value)
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("gone.mp4", "no such video"),
        ("text.mp4", "cannot be opened as a video"),
        ("camera:77", "cannot be opened as a video"),
        ("nosuch://host/x", "cannot be opened as a video"),
        ("http://127.0.0.1:9/x", "cannot be opened as a video"),
    ],
)
def test_errors_are_one_line(tmp_path, source, text):
    (tmp_path / "text.mp4").write_text("not a video")
    place = source if ":" in source else str(tmp_path / source)
    with pytest.raises(UserError, match=text) as caught:
        VideoSource(place)
    assert "\n" not in str(caught.value)


def test_a_cut_off_file_is_an_error_or_shorter(tmp_path):
    data = written(tmp_path / "a.mp4", 25, 30).read_bytes()
    (tmp_path / "b.mp4").write_bytes(data[: len(data) // 2])  # mp4 keeps its index at the end
    with pytest.raises(UserError, match="cannot be opened"):
        VideoSource(str(tmp_path / "b.mp4"))
