"""Whole jobs with a stand-in detector: what is written, going on after a stop, bad images, tracking."""

import csv
import gc
import itertools
import json
import tracemalloc
from contextlib import nullcontext
from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from effdet.inference import Predictor
from effdet.inference.jobs import Job, predict_images, predict_video, video
from effdet.inference.prediction import Prediction
from effdet.inference.sources import Frame, VideoSource, find_images
from effdet.inference.tracking import Tracker, TrackerSettings
from effdet.inference.writers import Journal, VideoWriter
from heads.structures import UserError
from tests.evaluation_fakes import CLASSES, FakeModel, FakeSet


@pytest.fixture
def directory(tmp_path):
    images = FakeSet(7)
    (tmp_path / "in").mkdir()
    for index in range(7):
        Image.fromarray(images.image(index)).save(tmp_path / "in" / f"{index}.png")
    return tmp_path / "in"


def job(directory, out, *heads, **options):
    predict = options.pop("predict", Predictor(FakeModel(*(heads or ("detection",))), batch_size=3))
    tracker = options.pop("tracker", None)
    return predict_images(predict, find_images(str(directory)), Job(out, CLASSES, **options), tracker=tracker)


def contents(directory):
    return {
        path.relative_to(directory).as_posix(): path.read_bytes() for path in directory.rglob("*") if path.is_file()
    }


def test_what_is_written(directory, tmp_path):
    summary = job(directory, tmp_path / "out")
    assert (summary.images, summary.boxes, summary.unreadable) == (7, 7, ())
    assert sorted(contents(tmp_path / "out")) == sorted(
        [*(f"{n}.jpg" for n in range(7)), "predictions.csv", "predictions.json", "predictions.jsonl"]
    )
    written = json.loads((tmp_path / "out/predictions.json").read_text())
    assert [image["id"] for image in written["images"]] == list(range(1, 8))
    assert written["images"][2] == {
        "id": 3, "file_name": str(directory / "2.png"), "height": 40, "width": 60, "drawing": "2.jpg"
    }  # fmt: skip
    assert written["categories"] == [{"id": 3, "name": "car"}, {"id": 1, "name": "person"}]
    assert written["annotations"][2]["bbox"] == pytest.approx([8, 10, 10, 10], abs=1)
    assert set(written["annotations"][0]) == {"image_id", "category_id", "bbox", "score"}
    rows = list(csv.DictReader((tmp_path / "out/predictions.csv").open()))
    assert len(rows) == 7 and rows[2]["name"] == "car" and float(rows[2]["x1"]) == pytest.approx(8, abs=1)


def test_segmentation_map_and_classes(directory, tmp_path):
    job(directory, tmp_path / "out", "semantic", "classification")
    values = np.unique(np.asarray(Image.open(tmp_path / "out/masks/2.png")))
    assert values.tolist() == [1, 3], "the owner's ids of person and car"
    written = json.loads((tmp_path / "out/predictions.json").read_text())
    assert written["images"][0]["classes"][0]["name"] == "car" and written["annotations"] == []


def test_segmentation_map_of_other_runs_and_of_the_user_stay(directory, tmp_path):
    out, other = tmp_path / "out", tmp_path / "other"
    (out / "masks").mkdir(parents=True)
    (out / "masks/0.png").write_bytes(b"the user's")
    job(directory, out, "semantic", draw=False)
    before = contents(out / "masks")
    assert before["0.png"] == b"the user's" and {"0_2.png", "1.png"} <= set(before)
    other.mkdir()
    Image.new("RGB", (60, 40), (9, 9, 9)).save(other / "1.png")
    job(other, out, "semantic", draw=False)
    job(directory, out, "semantic", draw=False)  # its own are replaced under their names
    after = contents(out / "masks")
    assert {name: after[name] for name in before} == before and set(after) == {*before, "1_2.png"}


def test_ids_by_name_are_a_bare_list(directory, tmp_path):
    job(directory, tmp_path / "out", ids="name", draw=False)
    written = json.loads((tmp_path / "out/predictions.json").read_text())
    assert [row["image_id"] for row in written] == list(range(7))
    (directory / "none.png").write_bytes((directory / "0.png").read_bytes())
    with pytest.raises(UserError, match="ids=name: .*none.png: there is no number in its name"):
        job(directory, tmp_path / "out", ids="name")


class Stopped(Predictor):
    """Is killed after some images."""

    after = 4

    def stream(self, images, **more):
        for count, prediction in enumerate(super().stream(images, **more)):
            if count == self.after:
                raise KeyboardInterrupt
            yield prediction


@pytest.mark.parametrize("after", [0, 1, 3, 4, 6])
def test_a_stopped_folder_goes_on_to_the_same_bytes(directory, tmp_path, after):
    (directory / "4.png").write_bytes(b"broken")
    job(directory, tmp_path / "whole")
    stopped = Stopped(FakeModel("detection"), batch_size=3)
    stopped.after = after
    out = tmp_path / "cut"
    try:
        job(directory, out, predict=stopped)
    except KeyboardInterrupt:
        with (out / "predictions.jsonl").open("a") as file:
            file.write('{"file": "half a li')  # killed while writing
    summary = job(directory, out, resume=True)
    assert summary.resumed == {0: 0, 1: 0, 3: 3, 4: 3, 6: 4}[after] and summary.images == 6
    assert contents(out) == contents(tmp_path / "whole")


def test_resume_does_only_what_is_missing(directory, tmp_path):
    job(directory, tmp_path / "out")
    (tmp_path / "out/6.jpg").unlink()
    assert job(directory, tmp_path / "out", resume=True).resumed == 6
    assert (tmp_path / "out/6.jpg").is_file()
    assert job(directory, tmp_path / "out", resume=True).resumed == 7
    with pytest.raises(UserError, match=r"same settings only \(score was None, is 0.5\); take another out="):
        job(directory, tmp_path / "out", resume=True, settings={"score": 0.5})


def test_unreadable_images(directory, tmp_path):
    (directory / "3.png").write_bytes(b"")
    summary = job(directory, tmp_path / "out")
    assert summary.images == 6 and len(summary.unreadable) == 1 and "3.png" in summary.unreadable[0]
    written = json.loads((tmp_path / "out/predictions.json").read_text())
    assert [image["id"] for image in written["images"]] == [1, 2, 3, 5, 6, 7]  # the others keep their numbers
    with pytest.raises(UserError, match=r"3\.png"):
        job(directory, tmp_path / "out2", skip_unreadable=False)
    for path in directory.iterdir():
        path.write_bytes(b"")
    with pytest.raises(UserError, match="0 of 7 images can be read; the first: .*0.png"):
        job(directory, tmp_path / "out3")


def test_names_that_meet_and_sources_that_are_safe(directory, tmp_path):
    (directory / "sub").mkdir()
    (directory / "sub" / "1.png").write_bytes((directory / "1.png").read_bytes())
    (directory / "1_2.png").write_bytes((directory / "1.png").read_bytes())
    job(directory, tmp_path / "out")
    assert len([name for name in contents(tmp_path / "out") if name.endswith(".jpg")]) == 9
    Image.open(directory / "0.png").save(directory / "5.jpg")
    with pytest.raises(
        UserError, match=r"out=.*5\.jpg would be written over a file of the source; name another folder"
    ):
        job(directory, directory)


@pytest.mark.parametrize("track", [False, True])
def test_a_video(tmp_path, track):
    pytest.importorskip("av")
    with VideoWriter(tmp_path / "drive.mp4", Fraction(10)) as writer:
        for index in range(9):
            writer.write(FakeSet(9).image(index))
    with VideoSource(str(tmp_path / "drive.mp4")) as source:
        predict = Predictor(FakeModel("detection"), batch_size=4)
        summary = predict_video(
            predict,
            source,
            Job(tmp_path / "out", CLASSES, max_images=8),
            tracker=Tracker() if track else None,
        )
    assert (summary.images, summary.boxes, summary.tracks) == (8, 8, 1 if track else None)
    with VideoSource(str(tmp_path / "out/drive.mp4")) as drawn:
        assert drawn.rate == 10 and len(list(drawn)) == 8
    written = json.loads((tmp_path / "out/predictions.json").read_text())
    assert written["images"][3]["frame"] == 3 and written["images"][3]["time"] == pytest.approx(0.3)
    rows = list(csv.DictReader((tmp_path / "out/predictions.csv").open()))
    assert rows[3]["track"] == ("1" if track else "") and rows[3]["frame"] == "3"
    if track:
        lines = (tmp_path / "out/drive.txt").read_text().splitlines()
        first = [float(value) for value in lines[0].split(",")]
        assert len(lines) == 8 and first[:2] == [1, 1] and first[2:4] == pytest.approx([1, 11], abs=1.5)


def test_ctrl_c_in_a_video_leaves_whole_files(tmp_path):
    pytest.importorskip("av")
    with VideoWriter(tmp_path / "a.mp4", Fraction(10)) as writer:
        for index in range(8):
            writer.write(FakeSet(8).image(index))
    with VideoSource(str(tmp_path / "a.mp4")) as source:
        predict = Stopped(FakeModel("detection"), batch_size=2)
        summary = predict_video(predict, source, Job(tmp_path / "out", CLASSES))
    assert summary.stopped and summary.images == 4
    with VideoSource(str(tmp_path / "out/a.mp4")) as drawn:
        assert len(list(drawn)) == 4


def test_tracking_a_folder_of_frames(directory, tmp_path):
    summary = job(directory, tmp_path / "out", tracker=Tracker())
    assert summary.tracks == 1 and len((tmp_path / "out/tracks.txt").read_text().splitlines()) == 7


def test_two_folders_with_files_of_one_name(tmp_path):
    """Every image has its own drawing, its own row in each table, and its own id."""
    images = FakeSet(7)
    names = ["a/0.png", "b/0.png", "b/0.bmp", "b/0_2.png"]
    for index, name in enumerate(names):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(images.image(index)).save(path)
    job(tmp_path / "in", tmp_path / "out")
    drawings = sorted(path.name for path in (tmp_path / "out").glob("*.jpg"))
    assert drawings == ["0.jpg", "0_2.jpg", "0_3.jpg", "0_4.jpg"]
    written = json.loads((tmp_path / "out/predictions.json").read_text())
    files = [str(tmp_path / "in" / name) for name in sorted(names)]
    assert [image["file_name"] for image in written["images"]] == files
    assert {image["file_name"]: image["drawing"] for image in written["images"]}[
        str(tmp_path / "in/b/0_2.png")
    ] == "0_2.jpg"
    with (tmp_path / "out/predictions.csv").open(newline="") as file:
        assert {row["file"] for row in csv.DictReader(file)} == set(files)
    with pytest.raises(UserError, match="ids=name: .*0.png and .*0.* both have the number 0: take ids=running"):
        job(tmp_path / "in", tmp_path / "other", ids="name")
    assert not (tmp_path / "other").exists()


class Endless:
    """A camera; and a detector of it that finds the same three boxes in every frame."""

    source = shown = name = "camera"
    live, rate, frames, pixel_aspect, every = True, Fraction(25), None, Fraction(1), 1
    damaged, lost, flawed, gaps = (), 0, 0, 0
    batch_size = 4

    def __iter__(self):
        image = np.zeros((8, 8, 3), np.uint8)
        return (Frame(index, Fraction(index, 25), image) for index in itertools.count())

    def stream(self, images, **more):
        boxes = np.array([[0, 0, 4, 4]] * 3, np.float32) + 10 * np.arange(3)[:, None].astype(np.float32)
        for image in images:
            yield Prediction(
                image, boxes, np.full(3, 0.9, np.float32), np.zeros(3, np.int64), classes={"detection": CLASSES}
            )


def test_memory_does_not_grow_with_a_stream(tmp_path, monkeypatch):
    """Four times the frames, and as much memory at their end; the results of 300 frames are 0.4 MB."""
    monkeypatch.setattr(
        video, "progress_bar", lambda *args, **more: nullcontext(lambda count: None)
    )  # it remembers 1000 frames
    held, record = [], Journal.record

    def measured(self, where):
        if where.done:
            gc.collect()
            held.append(tracemalloc.get_traced_memory()[0])
        record(self, where)

    monkeypatch.setattr(Journal, "record", measured)
    for number, max_images in enumerate((5, 50, 200)):
        camera, out = Endless(), Job(tmp_path / str(number), CLASSES, draw=False, max_images=max_images)
        tracker = Tracker(TrackerSettings(patience=1.0, step=0.04))
        tracemalloc.start()
        summary = predict_video(camera, camera, out, tracker=tracker)  # type: ignore[arg-type]
        tracemalloc.stop()
        assert (summary.images, summary.boxes, summary.tracks) == (max_images, 3 * max_images, 3)
    assert held[2] < held[1] + 20_000
    assert len(json.loads((tmp_path / "2/predictions.json").read_text())["annotations"]) == 600
    assert len((tmp_path / "2/camera.txt").read_text().splitlines()) == 600
