"""``effdet predict`` from the command line to the files it writes: names, secrets, what must not be overwritten, stops."""

import functools
import json
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


def predict(model, *words):
    return main(["predict", f"model={model}", "score=0", "max_detections=3", "device=cpu", *map(str, words)])


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
    for number, words in enumerate([source, source.parent, source.parent / "*.png"]):
        assert predict(model, f"source={words}", f"out={tmp_path}/out{number}") == 0
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
    assert predict(model, f"source={source}", "score=7") == 2
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
        words = [f"source={tmp_path}/a.png", f"out={tmp_path}/{most}", tiles, "predict.draw=false", "nms_iou=0.9"]
        assert main(["predict", f"model={model}", "score=0", "device=cpu", f"max_detections={most}", *words]) == 0
        assert len(json.loads((tmp_path / str(most) / "predictions.json").read_text())["annotations"]) == expected
