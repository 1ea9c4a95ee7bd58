"""``effdet predict`` on videos, from the command line to the files it writes."""

import csv
import json
import os
import signal
import subprocess
import sys
import threading
from fractions import Fraction

import numpy as np
import pytest
import torch
from PIL import Image

import effdet
from effdet.cli.app import main
from effdet.inference.sources import VideoSource
from effdet.inference.writers import video as video_writer
from effdet.model import build, spec_for
from tests.inference.clips import audio_only, clip, cut, damage, joined

pytest.importorskip("av")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A detector of 64 pixels with random weights, which is sure of something everywhere."""
    torch.manual_seed(0)
    network = build(spec_for(task="detection", phi=-4, num_classes=3, image_size=64))
    (bias,) = [
        values for name, values in network.named_parameters() if name.endswith("class_net.predict.pointwise.bias")
    ]
    torch.nn.init.constant_(bias, 2.0)
    path = tmp_path_factory.mktemp("model") / "m.safetensors"
    effdet.save(network, path)
    return path


def overrides(model, *more):
    return [
        "predict",
        f"model={model}",
        "score_threshold=0.5",
        "nms_iou=0.3",
        "max_detections=3",
        "device=cpu",
        *map(str, more),
    ]


def predict(model, *more):
    return main(overrides(model, *more))


class Written:
    """What a run wrote; the tables must agree with each other."""

    def __init__(self, out):
        self.out = out
        table = json.loads((out / "predictions.json").read_text())
        self.images, self.boxes = table["images"], table["annotations"]
        self.rows = list(csv.DictReader((out / "predictions.csv").open()))
        lines = [json.loads(line) for line in (out / "predictions.jsonl").read_text().splitlines()[1:]]
        entries = [line for line in lines if "file" in line]
        assert [image["id"] for image in self.images] == [entry["image_id"] for entry in entries]
        assert len({image["id"] for image in self.images}) == len(self.images)
        assert len(self.rows) == len(self.boxes) == sum(len(entry["boxes"]) for entry in entries)

    @property
    def frames(self):
        return [image["frame"] for image in self.images]

    @property
    def times(self):
        return [image["time"] for image in self.images]

    def of(self, file):
        return [image["frame"] for image in self.images if image["file_name"] == str(file)]

    def drawn(self, name):
        with VideoSource(str(self.out / name)) as source:
            return [(float(frame.time), frame.image.shape[:2]) for frame in source]


def test_a_damaged_packet(model, tmp_path, capsys):
    path = damage(clip(tmp_path / "drive.avi", 100, codec="mjpeg", pixels="yuvj420p"), 40)
    assert predict(model, f"source={path}", f"out={tmp_path}/out", "predict.track=true") == 0
    said = capsys.readouterr().err
    assert "drive.avi: frame 40 (1.600 s) cannot be decoded" in said
    assert "left out as damaged: 1 of 100 frames" in said
    written = Written(tmp_path / "out")
    assert written.frames == [*range(40), *range(41, 100)]
    assert written.times == pytest.approx([frame / 25 for frame in written.frames])
    assert [time for time, _ in written.drawn("drive.mp4")] == pytest.approx(written.times, abs=1e-3)
    numbers = {int(line.split(",")[0]) for line in (tmp_path / "out/drive.txt").read_text().splitlines()}
    assert numbers and numbers <= {frame + 1 for frame in written.frames}
    assert predict(model, f"source={path}", f"out={tmp_path}/strict", "unreadable=error") == 1
    assert "frame 40" in capsys.readouterr().err
    assert len(Written(tmp_path / "strict").frames) == 40


def test_a_cut_off_file(model, tmp_path, capsys):
    path = cut(clip(tmp_path / "a.mkv", 50), 0.6)
    assert predict(model, f"source={path}", f"out={tmp_path}/out") == 1
    said = capsys.readouterr()
    (line,) = [line for line in said.err.splitlines() if line.startswith("error: ")]
    assert "a.mkv: the file is cut off" in line and f"what was done until then is in {tmp_path}/out" in line
    written = Written(tmp_path / "out")
    assert written.frames == list(range(len(written.frames))) and 20 < len(written.frames) < 40
    assert len(written.drawn("a.mp4")) == len(written.frames)
    path = cut(clip(tmp_path / "b.mp4", 50), 0.6)  # its index is gone
    assert predict(model, f"source={path}", f"out={tmp_path}/none") == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1 and not (tmp_path / "none").exists()


def test_joined_streams_of_different_sizes(model, tmp_path):
    first = clip(tmp_path / "a.ts", 6, codec="mpeg2video", start=100)
    second = clip(tmp_path / "b.ts", 6, codec="mpeg2video", size=(96, 160))
    path = joined(tmp_path / "c.ts", first, second)
    assert predict(model, f"source={path}", f"out={tmp_path}/out", "predict.track=true") == 0
    written = Written(tmp_path / "out")
    assert written.times == pytest.approx([n / 25 for n in range(12)])
    assert [(image["height"], image["width"]) for image in written.images] == [(48, 64)] * 6 + [(96, 160)] * 6
    assert [time for time, _ in written.drawn("c.mp4")] == pytest.approx(written.times, abs=1e-3)
    assert {shape for _, shape in written.drawn("c.mp4")} == {(48, 64)}
    assert all(float(row["x2"]) <= (64 if int(row["frame"]) < 6 else 160) + 0.01 for row in written.rows)


def test_patience_is_seconds(model, tmp_path):
    """Three objects, and 0.9 s between two frames that follow each other: the clock counts, and not the frames."""
    image = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    path = clip(
        tmp_path / "a.mkv", 5, codec="ffv1", pixels="bgr0", rate=30, times=[0, 1, 2, 29, 30], images=[image] * 5
    )
    found = {}
    for patience in (1.0, 0.5):
        out = tmp_path / f"out{patience}"
        more = ["predict.track=true", f"predict.track_patience={patience}"]
        assert predict(model, f"source={path}", f"out={out}", *more) == 0
        found[patience] = [int(row["track"]) for row in Written(out).rows]
    assert set(found[1.0][:9]) == set(found[1.0][9:]) and len(set(found[1.0])) == 3
    assert set(found[0.5][:9]).isdisjoint(found[0.5][9:]) and len(set(found[0.5])) == 6


def test_frames_that_vanish_are_missed(model, tmp_path, capsys):
    path = damage(clip(tmp_path / "IMG.0123.mkv", 60, codec="libx264", options={"bf": "0"}), 20)
    assert predict(model, f"source={path}", f"out={tmp_path}/out") == 0
    said = capsys.readouterr().err
    assert "IMG.0123.mkv: " in said and "gaps in time, where frames are missing: 1" in said
    written = Written(tmp_path / "out")
    assert (
        written.times[-1] == pytest.approx(59 / 25) and len(written.drawn("IMG.0123.mp4")) == len(written.frames) < 60
    )


def test_numbers_of_objects_begin_anew_in_each_video(model, tmp_path):
    for name in "ab":
        clip(tmp_path / "in" / f"{name}.mp4", 4)
    assert predict(model, f"source={tmp_path}/in", f"out={tmp_path}/out", "predict.track=true") == 0
    numbers = {
        name: {row["track"] for row in Written(tmp_path / "out").rows if name in row["file"]}
        for name in ("a.mp4", "b.mp4")
    }
    assert "1" in numbers["a.mp4"] and numbers["a.mp4"] == numbers["b.mp4"]
    assert (tmp_path / "out/a.txt").read_bytes() == (tmp_path / "out/b.txt").read_bytes()


def test_patience_holds_for_every_third_frame(model, tmp_path):
    """Out of sight from 0.4 s to 1.2 s: under a second, though the frames that are looked at are 0.12 s apart."""
    image = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    times = [*range(10), *range(30, 40)]
    path = clip(tmp_path / "a.mkv", 20, codec="ffv1", pixels="bgr0", times=times, images=[image] * 20)
    for patience, count in ((1.0, 3), (0.5, 6)):
        out, more = tmp_path / f"out{patience}", ["predict.every=3", "predict.track=true"]
        assert predict(model, f"source={path}", f"out={out}", f"predict.track_patience={patience}", *more) == 0
        assert len({row["track"] for row in Written(out).rows}) == count


def test_every_third_frame(model, tmp_path, capsys):
    path = clip(tmp_path / "a.mp4", 10)
    assert predict(model, f"source={path}", f"out={tmp_path}/out", "predict.every=3", "predict.track=true") == 0
    written = Written(tmp_path / "out")
    assert written.frames == [0, 3, 6, 9] and written.times == pytest.approx([0, 0.12, 0.24, 0.36])
    assert [time for time, _ in written.drawn("a.mp4")] == pytest.approx(written.times, abs=1e-3)
    assert {line.split(",")[0] for line in (tmp_path / "out/a.txt").read_text().splitlines()} <= {"1", "4", "7", "10"}
    Image.new("RGB", (64, 48)).save(tmp_path / "a.png")
    assert predict(model, f"source={tmp_path}/a.png", f"out={tmp_path}/out2", "predict.every=3") == 2
    assert "predict.every: has no effect on images" in capsys.readouterr().err


def test_a_folder_of_images_and_videos(model, tmp_path, capsys):
    source = tmp_path / "in"
    first = clip(source / "1" / "drive.mp4", 3)
    second = clip(source / "2" / "DRIVE.MOV", 4)
    broken = source / "2" / "broken.mkv"
    broken.write_bytes(b"nothing")
    audio_only(source / "2" / "song.mp4")
    (source / "app.ts").write_text("const typescript = true;\n")
    Image.new("RGB", (64, 48)).save(source / "drive.png")
    out = tmp_path / "out"
    assert predict(model, f"source={source}", f"out={out}", "predict.ids=name") == 2
    assert predict(model, f"source={source}", f"out={out}") == 0
    said = capsys.readouterr()
    assert "broken.mkv: cannot be opened" in said.err and "song.mp4: holds no video stream" in said.err
    assert "app.ts" not in said.err and "7 frames of 4 videos" in said.out
    written = Written(out)
    assert [image["file_name"] for image in written.images] == [
        str(source / "drive.png"), *[str(first)] * 3, *[str(second)] * 4
    ]  # fmt: skip
    assert len(written.drawn("drive.mp4")) == 3 and len(written.drawn("DRIVE_2.mp4")) == 4
    assert (out / "drive.jpg").is_file()
    assert predict(model, f"source={source}/2/*.mkv", f"out={tmp_path}/out2") == 2
    assert "0 of 1 video can be read" in capsys.readouterr().err
    assert predict(model, f"source={source}/*/*.m[op]*", f"out={tmp_path}/out2", "max_images=2") == 0
    assert Written(tmp_path / "out2").of(first) == [0, 1]
    (source / "list.txt").write_text("1/drive.mp4\ndrive.png\n")
    assert predict(model, f"source={source}/list.txt", f"out={tmp_path}/out3") == 0
    assert Written(tmp_path / "out3").of(first) == [0, 1, 2]
    assert predict(model, f"source={source}", f"out={tmp_path}/out4", "unreadable=error") == 2


def test_names_with_brackets(model, tmp_path):
    path = clip(tmp_path / "My trip [dQw4w9WgXcQ].mp4", 2)
    clip(tmp_path / "My trip d.mp4", 3)
    assert predict(model, f"source={path}", f"out={tmp_path}/out") == 0
    assert Written(tmp_path / "out").of(path) == [0, 1]


def test_several_runs_into_one_folder(model, tmp_path, capsys):
    first, second = clip(tmp_path / "1" / "a.mp4", 3), clip(tmp_path / "2" / "a.mp4", 4)
    Image.new("RGB", (64, 48)).save(tmp_path / "b.png")
    out = tmp_path / "out"
    for source in (first, second, tmp_path / "b.png"):
        assert predict(model, f"source={source}", f"out={out}", "predict.draw=true") == 0
    kept = (out / "a.mp4").read_bytes()
    written = Written(out)
    assert written.of(first) == [0, 1, 2] and written.of(second) == [0, 1, 2, 3] and len(written.images) == 8
    assert len(written.drawn("a.mp4")) == 3 and len(written.drawn("a_2.mp4")) == 4
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    assert predict(model, f"source={first}", f"out={out}", "image_size=96") == 2
    assert "image_size was None, is 96" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    assert predict(model, f"source={second}", f"out={out}") == 0  # again: its own results are replaced
    assert len(Written(out).images) == 8 and (out / "a.mp4").read_bytes() == kept
    assert sorted(path.name for path in out.glob("*.mp4")) == ["a.mp4", "a_2.mp4"]
    assert predict(model, f"source={first}", f"out={out}", "image_size=96", "overwrite=true") == 0
    assert len(Written(out).images) == 3 and len(Written(out).drawn("a.mp4")) == 3


def test_a_source_is_never_written_over(model, tmp_path, monkeypatch, capsys):
    path = clip(tmp_path / "drive.mp4", 3)
    before = path.read_bytes()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to(tmp_path)
    for source, out in [("drive.mp4", "."), (path, "."), ("drive.mp4", tmp_path / "link"), (".", ".")]:
        assert predict(model, f"source={source}", f"out={out}") == 2
        assert "drive.mp4 would be written over a file of the source" in capsys.readouterr().err
    assert predict(model, "source=drive.mp4", "out=out") == 0
    drawn = (tmp_path / "out/drive.mp4").read_bytes()
    assert predict(model, "source=out/drive.mp4", "out=out") == 2  # what an earlier run drew
    assert (tmp_path / "out/drive.mp4").read_bytes() == drawn and path.read_bytes() == before
    (tmp_path / "drive.txt").write_text("the user's")
    assert predict(model, "source=drive.mp4", "out=.", "predict.draw=false", "predict.track=true") == 0
    assert (tmp_path / "drive.txt").read_text() == "the user's" and (tmp_path / "drive_2.txt").is_file()
    assert path.read_bytes() == before


def test_another_encoder(model, tmp_path, monkeypatch):
    missing = video_writer.Encoding("nosuchcodec", ".mp4")
    for encoding in [entry for entry in video_writer.ENCODINGS if entry.codec in ("mpeg4", "mjpeg")]:
        monkeypatch.setattr(video_writer, "ENCODINGS", (missing, encoding))
        path = clip(tmp_path / "a.avi", 5, codec="ffv1", size=(47, 63), pixels="bgr0")
        out = tmp_path / encoding.codec
        assert predict(model, f"source={path}", f"out={out}") == 0
        assert Written(out).drawn(f"a{encoding.suffix}") == [
            (pytest.approx(n / 25, abs=1e-3), (48, 64)) for n in range(5)
        ]


def test_a_full_disk(model, tmp_path, monkeypatch, capsys):
    path = clip(tmp_path / "a.mp4", 12)
    write = video_writer.VideoWriter.write

    def full(self, image, time=None):
        if time is not None and time >= Fraction(8, 25):
            raise OSError(28, "No space left on device")
        write(self, image, time)

    monkeypatch.setattr(video_writer.VideoWriter, "write", full)
    assert predict(model, f"source={path}", f"out={tmp_path}/out", "batch_size=2") == 2
    assert "error: " in (said := capsys.readouterr().err) and "No space left on device" in said
    written = Written(tmp_path / "out")
    assert written.frames == list(range(9)) and len(written.drawn("a.mp4")) == 8


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal(model, tmp_path, monkeypatch, number, code):
    first, second = clip(tmp_path / "in" / "a.mp4", 30), clip(tmp_path / "in" / "b.mp4", 4)
    out = tmp_path / "out"
    more = overrides(model, f"source={tmp_path}/in", f"out={out}", "batch_size=2", "predict.track=true")
    write = video_writer.VideoWriter.write

    def stopped(self, image, time=None):
        if time == Fraction(12, 25):
            os.kill(os.getpid(), number)
        write(self, image, time)

    with monkeypatch.context() as patch:
        patch.setattr(video_writer.VideoWriter, "write", stopped)
        assert main(more) == code
    written = Written(out)
    assert written.frames == list(range(13)) and len(written.drawn("a.mp4")) == 13 and (out / "a.txt").is_file()
    assert main([*more, "resume=auto", "max_images=6"]) == 0  # the one that was not finished begins anew
    written = Written(out)
    assert written.of(first) == list(range(6)) and written.of(second) == list(range(4))
    assert sorted(path.name for path in out.glob("*.mp4")) == ["a.mp4", "b.mp4"]
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    assert main([*more, "resume=auto", "max_images=6"]) == 0  # nothing is left to be done
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGKILL, -9)])
def test_a_signal_to_a_process(model, tmp_path, number, code):
    path, out = clip(tmp_path / "a.mp4", 2000), tmp_path / "out"
    more = overrides(model, f"source={path}", f"out={out}", "batch_size=2", "predict.track=true")
    script = f"from effdet.cli.app import main; import sys; sys.exit(main({more!r}))"
    process = subprocess.Popen(
        [sys.executable, "-c", script], env={**os.environ, "OMP_NUM_THREADS": "1"}, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    wait, journal = threading.Event(), out / "predictions.jsonl"
    while not (journal.is_file() and journal.read_bytes().count(b"\n") > 30):
        assert process.poll() is None, process.stderr.read()
        wait.wait(0.05)
    process.send_signal(number)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == code and "Traceback" not in said
    if number != signal.SIGKILL:
        written = Written(out)
        assert 10 < len(written.frames) < 2000 and len(written.drawn("a.mp4")) == len(written.frames)
    assert main([*more, "max_images=6"]) == 0  # the same again: nothing is in its way, nothing is left of the first
    assert Written(out).frames == list(range(6))
    assert sorted(entry.name for entry in out.iterdir() if not entry.name.startswith(".")) == [
        "a.mp4", "a.txt", "predictions.csv", "predictions.json", "predictions.jsonl"
    ]  # fmt: skip
