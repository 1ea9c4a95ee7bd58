"""``effdet export`` as a user runs it, and its file in the other commands."""

import json

import pytest
from PIL import Image

from effdet.cli.app import main
from effdet.streets import scene
from tests.export.conftest import images, model, saved  # noqa: F401  # fixtures


@pytest.fixture(scope="module")
def street(tmp_path_factory):
    """A folder of images, and the same as a COCO set of two classes."""
    root = tmp_path_factory.mktemp("street")
    entries, annotations = [], []
    for split in ("train2017", "val2017"):
        (root / split).mkdir()
        for index in range(2):
            drawn = scene(0, split[:-4], index, 96)
            Image.fromarray(drawn.image).save(root / split / f"{index}.png")
            entries.append({"id": index, "file_name": f"{index}.png", "height": 96, "width": 96})
            x1, y1, x2, y2 = (float(value) for value in drawn.boxes[0])
            box = {"bbox": [x1, y1, x2 - x1, y2 - y1], "area": (x2 - x1) * (y2 - y1), "iscrowd": 0}
            annotations.append({"id": len(annotations) + 1, "image_id": index, "category_id": 3, **box})
    (root / "annotations").mkdir()
    for split, part in (("train2017", slice(0, 2)), ("val2017", slice(2, 4))):
        table = {"images": entries[part], "annotations": annotations[part], "categories": [{"id": 3, "name": "car"}]}
        (root / "annotations" / f"instances_{split}.json").write_text(json.dumps(table))
    return root


def test_a_file_is_written_and_the_other_commands_take_it(saved, street, tmp_path, capsys):  # noqa: F811
    file = tmp_path / "out" / "small.torchscript"
    data = ["data=coco", f"data.root={street}"]
    assert main(["export", f"model={saved}", "format=torchscript", f"out={file}", "gate.images=2", *data]) == 0
    said = capsys.readouterr().out
    assert "logit" in said and "AP " in said and said.strip().endswith(str(file))
    assert [path.name for path in file.parent.iterdir()] == [file.name]

    for name, source in (("file", file), ("model", saved)):
        assert main(["evaluate", f"model={source}", f"out={tmp_path / name}", "workers=0", *data]) == 0
    own, other = (json.loads((tmp_path / name / "metrics.json").read_text()) for name in ("model", "file"))
    assert own["AP"] == pytest.approx(other["AP"], abs=1e-6)

    assert "torchscript, fp32" in (tmp_path / "file" / "report.html").read_text()
    assert main(["export", f"model={file}"]) == 2
    assert "an exported file only predicts" in capsys.readouterr().err
    assert main(["predict", f"model={file}", f"source={street / 'val2017'}", f"out={tmp_path / 'drawn'}"]) == 0
    assert (tmp_path / "drawn" / "0.jpg").is_file()


def test_past_the_tolerance_the_exit_code_is_1(saved, street, tmp_path, capsys):  # noqa: F811
    file = tmp_path / "small.torchscript"
    overrides = [f"model={saved}", "format=torchscript", f"out={file}", f"source={street / 'val2017'}"]
    assert main(["export", *overrides, "gate.images=1", "precision=fp16", "tolerance.logit=1e-9"]) == 1
    caught = capsys.readouterr()
    assert "FAILED" in caught.out and "was not written" in caught.err
    assert not list(tmp_path.iterdir())


def test_without_images_of_the_users_streets_are_drawn(saved, tmp_path, capsys):  # noqa: F811
    file = tmp_path / "small.torchscript"
    overrides = ["format=torchscript", f"out={file}", "gate.images=1", "score_threshold=0.2", "image_size=[64,64]"]
    assert main(["export", f"model={saved}", *overrides]) == 0
    assert "drawn streets" in capsys.readouterr().out
    assert file.is_file()


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["precision=int8"], "needs images to measure ranges on"),
        (["format=torchscript", "precision=int8"], "int8 is for format=onnx"),
        (["format=torchscript", "image_size=[64,64]", "out=x.onnx"], "ends in .torchscript"),
        (["format=tflite"], "format"),
    ],
)
def test_misuse_is_one_line(overrides, said, saved, capsys, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.chdir(tmp_path)
    assert main(["export", f"model={saved}", "gate.images=1", *overrides]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: ") and said in lines[0]
    assert not list(tmp_path.iterdir())


def test_int8_without_images_is_refused_before_work(saved, tmp_path, capsys, monkeypatch):  # noqa: F811
    drawn = []
    monkeypatch.setattr("effdet.cli.export.street_images", lambda count: drawn.append(count))
    assert main(["export", f"model={saved}", "precision=int8", f"out={tmp_path / 'x.onnx'}"]) == 2
    assert "precision=int8 needs images" in capsys.readouterr().err and not drawn
