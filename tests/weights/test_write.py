"""save and load: a file that describes itself, written whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from effdet.model import VisionModel, build, fold, spec_for
from effdet.weights import WeightsError, class_table, create_model, load, load_weights, save
from heads.structures import ClassTable, UserError

CLASS_ROWS = "heads.detection.class_net.predict.pointwise.weight"


@pytest.fixture(scope="module")
def model() -> VisionModel:
    torch.manual_seed(0)
    made = create_model("tf_efficientdet_lite0", classes=class_table("coco90"), image_size=(64, 96))
    made.spec = made.spec.replace(preprocess=made.spec.preprocess.fitted((96, 64)))
    return made.eval()


def answer(model: VisionModel) -> torch.Tensor:
    images = torch.linspace(-1, 1, 3 * 96 * 64).reshape(1, 3, 96, 64)
    with torch.inference_mode():
        return model(images)["detection"].class_logits


def test_a_saved_model_comes_back_the_same(model: VisionModel, tmp_path: Path) -> None:
    path = save(model, tmp_path / "new" / "m.safetensors", notes={"from": "a test"})
    again = load(path)
    assert again.spec == model.spec and not again.training
    assert torch.equal(answer(again), answer(model))
    assert again.get_buffer("heads.detection.named_classes").sum() == 80
    with safe_open(path, framework="pt") as file:
        assert json.loads(file.metadata()["effdet"])["notes"] == {"from": "a test"}
    assert [entry.name for entry in path.parent.iterdir()] == ["m.safetensors"]  # no temporary file stays


def test_a_failed_write_leaves_the_old_file(
    model: VisionModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save(model, tmp_path / "m.safetensors")
    before = path.read_bytes()

    def fail(tensors: object, name: str, metadata: object) -> None:
        Path(name).write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr("safetensors.torch.save_file", fail)
    with pytest.raises(OSError, match="disk full"):
        save(model, path)
    assert path.read_bytes() == before and len(list(tmp_path.iterdir())) == 1


def test_what_cannot_be_saved(model: VisionModel, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="must end with .safetensors"):
        save(model, tmp_path / "m.pth")
    with pytest.raises(UserError, match="FoldedModel can't be saved"):
        save(fold(model), tmp_path / "m.safetensors")  # type: ignore[arg-type]


def test_own_weights_into_a_model_of_other_classes(model: VisionModel, tmp_path: Path) -> None:
    path = save(model, tmp_path / "m.safetensors")
    target = create_model("tf_efficientdet_lite0", classes=ClassTable.of(["car", "tram"]), image_size=64, weights=path)
    rows = target.get_parameter(CLASS_ROWS).reshape(9, 2, -1)
    theirs = model.get_parameter(CLASS_ROWS).reshape(9, 90, -1)
    assert torch.equal(rows[:, 0], theirs[:, 2])
    assert target.preprocess.size == (64, 64)


@pytest.fixture(scope="module")
def checkpoint(model: VisionModel) -> dict:
    """As training writes it: only tensors, strings and numbers."""
    raw = {key: value + 1 if value.is_floating_point() else value for key, value in model.state_dict().items()}
    spec = json.dumps(model.spec.to_dict())
    return {"state_dict": model.state_dict(), "raw_state_dict": raw, "spec": spec, "config": "a: 1", "epoch": 3}


def test_a_run_and_its_checkpoints(model: VisionModel, checkpoint: dict, tmp_path: Path) -> None:
    directory = tmp_path / "run" / "checkpoints"
    directory.mkdir(parents=True)
    with pytest.raises(WeightsError, match="is not a finished run"):
        load(tmp_path / "run")
    torch.save({**checkpoint, "state_dict": checkpoint["raw_state_dict"]}, directory / "last.ckpt")
    assert not torch.equal(load(tmp_path / "run").backbone.stem.conv.weight, model.backbone.stem.conv.weight)
    torch.save(checkpoint, directory / "best.ckpt")
    best = load(tmp_path / "run")
    assert torch.equal(answer(best), answer(model)) and best.spec == model.spec
    raw = load(directory / "best.ckpt", raw=True)
    assert torch.equal(raw.backbone.stem.conv.weight, model.backbone.stem.conv.weight + 1)


def test_a_file_that_does_not_say_what_it_is(model: VisionModel, tmp_path: Path) -> None:
    save_file(model.state_dict(), tmp_path / "bare.safetensors")
    with pytest.raises(WeightsError, match="does not say what model it holds"):
        load(tmp_path / "bare.safetensors")
    target = build(spec_for("tf_efficientdet_lite0", image_size=64))
    assert load_weights(target, tmp_path / "bare.safetensors").complete


def test_a_description_that_is_damaged_or_newer(model: VisionModel, tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    save_file(model.state_dict(), path, metadata={"effdet": "{not json"})
    with pytest.raises(WeightsError, match="is no JSON object"):
        load(path)
    spec = {**model.spec.to_dict(), "format": 99}
    save_file(model.state_dict(), path, metadata={"effdet": json.dumps({"spec": spec})})
    with pytest.raises(UserError, match="format 99"):
        load(path)
