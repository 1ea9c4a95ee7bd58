"""Videos as they are found: damaged, cut off, joined, of changing sizes and rates. What is there is given, and in time."""

from fractions import Fraction

import numpy as np
import pytest

from effdet.inference.sources import VideoFault, VideoSource
from heads.structures import UserError
from tests.inference.clips import audio_only, clip, cut, damage, frame_image, joined

pytest.importorskip("av")


def read(path, **options):
    """The frames, and the source, whose counts stay."""
    with VideoSource(str(path), **options) as source:
        return list(source), source


def times(path, **options):
    return [float(frame.time) for frame in read(path, **options)[0]]


FORMATS = [("mpeg4", "mp4"), ("mpeg4", "avi"), ("mjpeg", "avi"), ("libx264", "mp4"), ("png", "mov")]


@pytest.mark.parametrize(("codec", "suffix"), FORMATS)
def test_one_damaged_packet_is_skipped_counted_and_named(tmp_path, codec, suffix):
    pixels = {"mjpeg": "yuvj420p", "png": "rgb24"}.get(codec, "yuv420p")
    # B-frames, where the codec has them, are stored out of order: all frames of a group depend on none behind it here.
    path = clip(tmp_path / f"a.{suffix}", 30, codec=codec, pixels=pixels, options={"bf": "0"} if codec != "png" else {})
    damage(path, 12)
    frames, source = read(path)
    assert [frame.index for frame in frames] == [*range(12), *range(13, 30)]
    assert [float(frame.time) for frame in frames] == pytest.approx([frame.index / 25 for frame in frames], abs=1e-3)
    assert (
        source.lost == 1 and "a." in source.damaged[0] and "frame 12 (0.480 s) cannot be decoded" in source.damaged[0]
    )


def test_the_first_and_the_last_packet_may_be_the_damaged_one(tmp_path):
    path = damage(clip(tmp_path / "a.avi", 10, codec="mjpeg", pixels="yuvj420p"), 0)
    frames, source = read(damage(path, 8))
    damage(path, 9)
    assert [frame.index for frame in frames] == [*range(1, 8), 9] and source.lost == 2
    frames, source = read(path)
    assert [frame.index for frame in frames] == [*range(1, 8)] and source.lost == 3
    assert [float(frame.time) for frame in frames] == pytest.approx([index / 25 for index in range(1, 8)])


def test_frames_decoded_with_errors_are_counted(tmp_path):
    path = clip(tmp_path / "a.mp4", 20, codec="libx264", options={"bf": "0"})
    import av

    with av.open(str(path)) as container:
        packet = [packet for packet in container.demux(video=0) if packet.size][10]
        position, size = packet.pos or 0, packet.size
    content = bytearray(path.read_bytes())
    content[position + size // 2 : position + size] = bytes(size - size // 2)
    path.write_bytes(content)
    frames, source = read(path)
    assert len(frames) == 20 and (source.lost, source.flawed) == (0, 1)
    assert "frame 10 (0.400 s) was decoded with errors" in source.damaged[0]


@pytest.mark.parametrize("name", ["a.mkv", "a.ts"])
def test_frames_that_vanish_with_their_packet_are_missed(tmp_path, name):
    """The form's own bytes are hit: the reader goes on behind them, without a word."""
    path = damage(clip(tmp_path / name, 100, codec="libx264", options={"bf": "0"}), 40)
    frames, source = read(path)
    assert 80 < len(frames) < 100 and (source.gaps, source.lost) == (1, 0)
    assert "some are missing" in source.damaged[0] and "a." in source.damaged[0]
    assert frames[-1].time == pytest.approx(99 / 25, abs=2e-3)


@pytest.mark.parametrize("name", ["a.mkv", "a.mp4", "a.mov"])
def test_sound_that_goes_on_longer_is_no_cut(tmp_path, name):
    import av

    for seconds in (1, 4):  # shorter and longer than the video's two
        with av.open(str(tmp_path / name), "w") as container:
            video, audio = container.add_stream("mpeg4", rate=25), container.add_stream("aac", rate=8000)
            video.height, video.width, video.pix_fmt = 48, 64, "yuv420p"
            audio_only = av.AudioFrame.from_ndarray(
                np.zeros((1, 8000 * seconds), np.float32), format="fltp", layout="mono"
            )
            audio_only.sample_rate, audio_only.pts = 8000, 0
            for index in range(50):
                container.mux(video.encode(av.VideoFrame.from_ndarray(frame_image(index), format="rgb24")))
            container.mux(video.encode(None))
            container.mux(audio.encode(audio_only))
            container.mux(audio.encode(None))
        frames, source = read(tmp_path / name)
        assert len(frames) == 50 and not source.damaged
        assert float(frames[-1].time) == pytest.approx(49 / 25, abs=2e-3)


def test_nothing_that_can_be_decoded(tmp_path):
    path = clip(tmp_path / "a.avi", 3, codec="mjpeg", pixels="yuvj420p")
    for index in range(3):
        damage(path, index)
    with pytest.raises(UserError, match="a.avi: holds no frame that can be decoded") as caught:
        read(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "form", "left"),
    [("a.mkv", {}, 0.6), ("a.avi", {}, 0.6), ("a.flv", {}, 0.6), ("a.mp4", {"movflags": "faststart"}, 0.6)],
)
def test_a_cut_off_file_gives_what_is_there_and_says_so(tmp_path, name, form, left):
    path = clip(tmp_path / name, 50, codec="flv" if name == "a.flv" else "mpeg4", form=form)
    assert len(read(path)[0]) == 50
    cut(path, left)
    frames = []
    with VideoSource(str(path)) as source, pytest.raises(VideoFault, match=r"cut off.* after frame \d+") as caught:
        for frame in source:
            frames.append(frame)
    assert 10 <= len(frames) < 40 and "\n" not in str(caught.value)


@pytest.mark.parametrize("form", [{}, {"movflags": "frag_keyframe+empty_moov"}])
@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi", "a.mov", "a.ts", "a.flv", "a.mpg"])
def test_a_whole_file_is_whole(tmp_path, name, form):
    suffix = name[-3:]
    codec = {"flv": "flv", "mpg": "mpeg2video", ".ts": "mpeg2video"}.get(suffix, "mpeg4")
    path = clip(tmp_path / name, 30, codec=codec, form=form if suffix in ("mp4", "mov") else {})
    frames, source = read(path)
    assert len(frames) == 30 and not source.damaged
    assert [float(frame.time) for frame in frames] == pytest.approx([n / 25 for n in range(30)], abs=2e-3)


@pytest.mark.parametrize("left", [0.5, 0.97])
def test_an_mp4_without_its_index_is_one_line(tmp_path, left):
    path = cut(clip(tmp_path / "a.mp4", 50), left)
    with pytest.raises(UserError, match=r"a\.mp4: cannot be opened as a video .*cut off") as caught:
        read(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("start", [0, 250, 90_000])
def test_joined_transport_streams_have_one_clock(tmp_path, start):
    first = clip(tmp_path / "a.ts", 10, codec="mpeg2video", start=50)
    second = clip(tmp_path / "b.ts", 10, codec="mpeg2video", start=start)
    path = joined(tmp_path / "c.ts", first, second, first)
    frames, source = read(path)
    assert [float(frame.time) for frame in frames] == pytest.approx([n / 25 for n in range(30)], abs=1e-4)
    assert [frame.index for frame in frames] == list(range(30)) and not source.damaged


def test_the_clock_of_a_transport_stream_wraps_after_26_hours(tmp_path):
    path = clip(tmp_path / "a.ts", 20, codec="mpeg2video", start=2**33 // 3600 - 10)
    assert times(path) == pytest.approx([n / 25 for n in range(20)], abs=1e-4)


def test_sizes_that_change_in_mid_stream(tmp_path):
    first = clip(tmp_path / "a.ts", 5, codec="mpeg2video")
    second = clip(tmp_path / "b.ts", 5, codec="mpeg2video", size=(96, 160))
    frames, _ = read(joined(tmp_path / "c.ts", first, second, first))
    assert [frame.image.shape[:2] for frame in frames] == [(48, 64)] * 5 + [(96, 160)] * 5 + [(48, 64)] * 5


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_variable_frame_rates(tmp_path, name):
    path = clip(tmp_path / name, 6, rate=30, times=[0, 1, 2, 30, 31, 300])
    assert times(path) == pytest.approx([0, 1 / 30, 2 / 30, 1, 31 / 30, 10], abs=1e-3)


@pytest.mark.parametrize(("name", "start"), [("a.mp4", 25), ("a.mkv", 25), ("a.ts", 25), ("a.mkv", -5)])
def test_a_clock_that_begins_elsewhere(tmp_path, name, start):
    path = clip(tmp_path / name, 10, codec="mpeg2video" if name == "a.ts" else "mpeg4", start=start)
    assert times(path) == pytest.approx([n / 25 for n in range(10)], abs=1e-3)


def test_an_edit_list_leaves_out_frames(tmp_path):
    path = clip(tmp_path / "a.mp4", 20, start=-5)  # five frames before the zero: decoded, not shown
    frames, source = read(path)
    assert len(frames) == 15 and [frame.index for frame in frames] == list(range(15)) and source.lost == 0
    assert [float(frame.time) for frame in frames] == pytest.approx([n / 25 for n in range(15)], abs=1e-3)


@pytest.mark.parametrize(("codec", "name"), [("libx264", "a.avi"), ("mpeg4", "a.avi"), ("libx264", "a.mp4")])
def test_frames_between_others(tmp_path, codec, name):
    path = clip(tmp_path / name, 20, codec=codec, options={"bf": "3"})
    frames, _ = read(path)
    assert [float(frame.time) for frame in frames] == pytest.approx([n / 25 for n in range(20)], abs=1e-3)
    for frame in frames:
        assert np.abs(frame.image[:24].astype(int) - frame_image(frame.index)[:24]).mean() < 12


def test_a_stream_without_times(tmp_path):
    assert times(clip(tmp_path / "a.h264", 10, codec="libx264")) == pytest.approx([n / 25 for n in range(10)])


class _Rates:
    def __init__(self, stream, average, guessed):
        self._stream, self.average_rate, self.guessed_rate = stream, average, guessed

    def __getattr__(self, name):
        return getattr(self._stream, name)


@pytest.mark.parametrize(
    ("average", "guessed", "right"),
    [(Fraction(30), None, 30), (None, Fraction(15), 15), (None, Fraction(90_000), 25), (Fraction(90_000), Fraction(12), 12),
     (Fraction(0), None, 25)],
)  # fmt: skip
def test_frame_rates_that_cannot_be(tmp_path, average, guessed, right):
    with VideoSource(str(clip(tmp_path / "a.mp4", 2))) as source:
        source._stream = _Rates(source._stream, average, guessed)
        assert source.rate == right


def test_every_other_frame_keeps_its_time(tmp_path):
    path = clip(tmp_path / "a.avi", 10, codec="mjpeg", pixels="yuvj420p")
    frames, source = read(path, every=3)
    assert [frame.index for frame in frames] == [0, 3, 6, 9] and source.frames == 4
    assert [float(frame.time) for frame in frames] == pytest.approx([0, 0.12, 0.24, 0.36])
    frames, _ = read(damage(path, 3), every=3)
    assert [frame.index for frame in frames] == [0, 4, 6, 9]  # the next one in place of one that is lost
    with pytest.raises(UserError, match="every"):
        VideoSource(str(path), every=0)


@pytest.mark.parametrize(
    ("codec", "name", "pixels"),
    [
        ("rawvideo", "a.avi", "gray"),
        ("ffv1", "a.mkv", "gray16le"),
        ("ffv1", "a.mkv", "yuva420p"),
        ("ffv1", "a.mkv", "yuv420p10le"),
        ("qtrle", "a.mov", "argb"),
        ("libx265", "a.mp4", "yuv420p10le"),
        ("ffv1", "a.mkv", "yuv444p16le"),
    ],
)
def test_pixel_formats(tmp_path, codec, name, pixels):
    options = {"x265-params": "log-level=none"} if codec == "libx265" else {}
    path = clip(tmp_path / name, 3, codec=codec, pixels=pixels, options=options)
    frames, _ = read(path)
    assert len(frames) == 3
    for index, frame in enumerate(frames):
        right = frame_image(index).astype(int)
        if pixels.startswith("gray"):
            right = np.repeat((right @ (0.299, 0.587, 0.114))[:, :, None], 3, 2)
        assert frame.image.shape == (48, 64, 3) and frame.image.dtype == np.uint8
        assert np.abs(frame.image[:20].astype(int) - right[:20]).mean() < 12


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_video_stored_lying_down_is_rotated(tmp_path, degrees):
    image = np.zeros((48, 64, 3), np.uint8)
    image[:24, :32] = 255  # upper left
    path = clip(tmp_path / "a.mp4", 2, images=[image, image], rotation=degrees)
    frames, _ = read(path)
    right = np.rot90(image, degrees // 90)  # both counter-clockwise
    assert frames[0].image.shape == right.shape and np.abs(frames[0].image.astype(int) - right).mean() < 6


def test_odd_sizes_and_one_frame(tmp_path):
    frames, _ = read(clip(tmp_path / "a.avi", 1, codec="ffv1", size=(47, 63), pixels="bgr0"))
    assert frames[0].image.shape == (47, 63, 3) and (frames[0].index, frames[0].time) == (0, 0)
    assert np.abs(frames[0].image.astype(int) - frame_image(0, 47, 63)).max() == 0


def test_files_without_a_video(tmp_path):
    with pytest.raises(UserError, match=r"a\.mp4: holds no video stream \(only audio\)"):
        read(audio_only(tmp_path / "a.mp4"))
    (tmp_path / "b.mp4").touch()
    with pytest.raises(UserError, match=r"b\.mp4: cannot be opened as a video \(the file is empty\)"):
        read(tmp_path / "b.mp4")
    path = clip(tmp_path / "c.mkv", 1)
    cut(path, 0.5)
    with pytest.raises(UserError, match=r"c\.mkv: (holds no|cannot be opened)") as caught:
        read(path)
    assert "\n" not in str(caught.value)


def test_the_cover_of_a_song_is_no_video(tmp_path):
    import io

    import av
    from PIL import Image

    cover = io.BytesIO()
    Image.new("RGB", (32, 32)).save(cover, "JPEG")
    path = tmp_path / "a.m4a"
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=8000)
        image = container.add_stream("mjpeg")
        image.width = image.height = 32
        image.pix_fmt = "yuvj420p"
        image.disposition = av.stream.Disposition.attached_pic
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.float32), format="fltp", layout="mono")
        frame.sample_rate, frame.pts = 8000, 0
        packet = av.Packet(cover.getvalue())
        packet.stream, packet.pts, packet.dts = image, 0, 0
        encoded = [packet, *stream.encode(frame), *stream.encode(None)]
        container.mux(encoded)
    with pytest.raises(UserError, match=r"holds no video stream \(only cover image and audio\)"):
        read(path)
