"""``effdet predict`` from the command line to the files it writes: names, secrets, what must not be overwritten, stops."""

import functools
import json
import os
import signal
import threading
from fractions import Fraction
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import torch
from PIL import Image

import effdet
from effdet.cli.app import main
from effdet.inference.writers import VideoWriter
from effdet.model import build, spec_for

COUNT = {"_target_": "tests.plugins.count_head.CountKit"}
BOXES = {"_target_": "effdet.tasks.detection.DetectionKit"}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A detector of 64 pixels with random weights, which finds something everywhere."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("model") / "m [1], a=b.safetensors"
    effdet.save(build(spec_for(task="detection", phi=-4, num_classes=3, image_size=64)), path)
    return path


def image(path, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (48, 64, 3), dtype=np.uint8)).save(path)
    return path


def clip(path, frames=4):
    path.parent.mkdir(parents=True, exist_ok=True)
    with VideoWriter(path, Fraction(10)) as writer:
        for seed in range(frames):
            writer.write(np.random.default_rng(seed).integers(0, 256, (48, 64, 3), dtype=np.uint8))
    return path


def predict(model, *overrides):
    return main(
        ["predict", f"model={model}", "score_threshold=0", "max_detections=3", "device=cpu", *map(str, overrides)]
    )


def files_named(out):
    return [row["file_name"] for row in json.loads((out / "predictions.json").read_text())["images"]]


@pytest.mark.parametrize("name", ["My trip [dQw4w9WgXcQ].mp4", "12:30, a=b #1 50%20 *?.mp4"])
def test_a_video_whose_name_looks_like_a_pattern(model, tmp_path, name):
    pytest.importorskip("av")
    source = clip(tmp_path / "in" / name)
    assert predict(model, f"source={source}", f"out={tmp_path}/out [1]") == 0
    assert files_named(tmp_path / "out [1]") == [str(source)] * 4
    assert len(list((tmp_path / "out [1]").glob("*.mp4"))) == 1


NAMES = [
    "My trip [x].png",
    "a*b?.png",
    "50%20 off #1.png",
    "a=1, b=2.png",
    "straße 日本.png",
    "[0-9].png",
    "{a} (b) 'c'.png",
]


@pytest.mark.parametrize("name", NAMES)
def test_an_image_and_a_folder_whose_names_look_like_patterns(model, tmp_path, name):
    source = image(tmp_path / name.removesuffix(".png") / name)
    image(tmp_path / "5" / "5.png")
    for number, overrides in enumerate([source, source.parent, source.parent / "*.png"]):
        assert predict(model, f"source={overrides}", f"out={tmp_path}/out{number}") == 0
        assert files_named(tmp_path / f"out{number}") == [str(source)]
        assert (tmp_path / f"out{number}" / f"{source.stem}.jpg").is_file()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture
def server(tmp_path):
    """The address (host and port) of a server of the folder ``served``."""
    (tmp_path / "served").mkdir()
    handler = functools.partial(_Quiet, directory=str(tmp_path / "served"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{running.server_address[1]}"
        running.shutdown()


def test_no_credential_of_a_stream_is_printed_or_written(model, tmp_path, server, capfd):
    pytest.importorskip("av")
    clip(tmp_path / "served" / "clip.mp4")
    source = f"http://admin:s3cret@{server}/clip.mp4?token=s3cret"
    out = tmp_path / "out"
    assert predict(model, f"source={source}", f"out={out}", "predict.track=true") == 0
    assert files_named(out) == [f"http://{server}/clip.mp4"] * 4
    for missing in (f"http://admin:s3cret@{server}/none.mp4?sig=s3cret", "rtsp://admin:s3cret@127.0.0.1:9"):
        assert predict(model, f"source={missing}", f"out={tmp_path}/none") == 2
    assert predict(model, f"source={source}", f"out={out}", "--print") == 0
    assert predict(model, f"source={source}", "score_threshold=7") == 2
    printed = capfd.readouterr()
    assert "s3cret" not in printed.out + printed.err and server in printed.err
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(written) >= 5
    for path in written:
        assert "s3cret" not in str(path) and b"s3cret" not in path.read_bytes(), path


@pytest.mark.parametrize("tiles", ["predict.tiles=false", "predict.tiles=true"])
def test_max_detections_holds_with_and_without_tiles(model, tmp_path, tiles):
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)).save(tmp_path / "a.png")
    for most, expected in ((5, 5), ("null", 100), (150, 150)):
        overrides = [f"source={tmp_path}/a.png", f"out={tmp_path}/{most}", tiles, "predict.draw=false", "nms_iou=0.9"]
        assert (
            main(["predict", f"model={model}", "score_threshold=0", "device=cpu", f"max_detections={most}", *overrides])
            == 0
        )
        assert len(json.loads((tmp_path / str(most) / "predictions.json").read_text())["annotations"]) == expected


def contents(directory):
    return {
        path.relative_to(directory).as_posix(): path.read_bytes() for path in directory.rglob("*") if path.is_file()
    }


@pytest.mark.parametrize(
    ("source", "out"),
    [
        ("in", "in"),
        ("in/b.jpg", "in"),
        ("in/*.jpg", "in/../in"),
        ("in/list.txt", "in"),
        ("in", "link"),
        ("link/b.jpg", "in"),
        ("in/to b.jpg", "in"),
        ("in/masks", "in"),
        ("in/sub", "in/sub"),
        ("in", "in/sub"),
    ],
)
def test_images_of_the_source_are_never_written_over(model, tmp_path, monkeypatch, source, out):
    """Refused before any work, or written beside under other names: every file of the user's stays as it was."""
    monkeypatch.chdir(tmp_path)
    for name in ("a.png", "b.jpg", "sub/a.jpg", "sub/B.JPG", "masks/b.png", "to b.jpg"):
        if name.startswith("to"):
            (tmp_path / "in" / name).symlink_to("b.jpg")
        else:
            image(tmp_path / "in" / name, seed=len(name))
    (tmp_path / "in" / "list.txt").write_text("b.jpg\n")
    (tmp_path / "in" / "tracks.txt").write_text("mine")
    (tmp_path / "link").symlink_to("in")
    before = contents(tmp_path / "in")
    for overrides in ([], ["predict.draw=false"], ["max_images=1"], ["predict.track=true"]):
        code = predict(model, f"source={source}", f"out={out}", *overrides)
        assert code in (0, 2)
        after = contents(tmp_path / "in")
        assert {name: after.get(name) for name in before} == before
        assert (tmp_path / "in" / "to b.jpg").is_symlink()


def test_why_a_folder_is_refused(model, tmp_path, capsys):
    image(tmp_path / "a.jpg")
    assert predict(model, f"source={tmp_path}", f"out={tmp_path}") == 2
    said = capsys.readouterr().err.strip()
    assert (
        said
        == f"error: out={tmp_path}: {tmp_path}/a.jpg would be written over a file of the source; name another folder"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["a.jpg"]


def test_a_file_called_as_a_camera_is(model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    image(tmp_path / "0.png").rename(tmp_path / "0")
    assert predict(model, "source=0", "out=out") == 0
    assert files_named(tmp_path / "out") == ["0"]


def stopping(monkeypatch, after, stop):
    """Calls `stop` when the given number of images is drawn."""
    from effdet.inference.jobs import images

    save, count = images._save, iter(range(1000))

    def counted(drawn, path):
        if next(count) == after:
            stop()
        save(drawn, path)

    monkeypatch.setattr(images, "_save", counted)


def full_disk():
    raise OSError(28, "No space left on device")


def fault():
    raise RuntimeError("a fault of ours")


@pytest.mark.parametrize(
    ("stop", "code", "done"),
    [
        (lambda: os.kill(os.getpid(), signal.SIGTERM), 143, 5),
        (lambda: os.kill(os.getpid(), signal.SIGINT), 130, 5),
        (full_disk, 2, 5),
        (fault, None, 5),
    ],
)
def test_what_is_done_is_written_whatever_ends_a_run_over_images(
    model, tmp_path, monkeypatch, capsys, stop, code, done
):
    for number in range(9):
        image(tmp_path / "in" / f"{number}.png", seed=number)
    overrides = [f"source={tmp_path}/in", "batch_size=2"]
    with monkeypatch.context() as patch:
        stopping(patch, 4, stop)
        if code is None:
            with pytest.raises(RuntimeError, match="a fault of ours"):
                predict(model, *overrides, f"out={tmp_path}/out")
        else:
            assert predict(model, *overrides, f"out={tmp_path}/out") == code
            assert capsys.readouterr().err.strip()
    written = files_named(tmp_path / "out")
    assert written == [f"{tmp_path}/in/{number}.png" for number in range(done)]
    rows = (tmp_path / "out" / "predictions.csv").read_text().splitlines()
    assert len(rows) == 1 + 3 * done
    assert predict(model, *overrides, f"out={tmp_path}/out", "resume=auto") == 0
    assert predict(model, *overrides, f"out={tmp_path}/whole") == 0
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


@pytest.mark.parametrize(
    ("heads", "said"),
    [
        ({"detection": {"_target_": "tests.plugins.count_head.CountHead", "kit": COUNT}}, "detection of 2 images"),
        (
            {"centres": {"_target_": "tests.plugins.centre_head.CentreHead", "kit": BOXES}},
            "boxes of score ≥ 0 in 2 images",
        ),
    ],
)
def test_the_summary_says_what_the_heads_find(heads, said, tmp_path, capsys):
    """By what their kits give, whatever their names."""
    path = effdet.save(
        build(spec_for(backbone="lite0", heads=heads, num_classes=2, image_size=64)), tmp_path / "m.safetensors"
    )
    for seed in range(2):
        image(tmp_path / "in" / f"{seed}.png", seed)
    overrides = [f"source={tmp_path}/in", f"out={tmp_path}/out", "device=cpu", "trust=true", "score_threshold=0"]
    assert main(["predict", f"model={path}", *overrides]) == 0
    assert said in capsys.readouterr().out
