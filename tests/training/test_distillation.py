"""What a teacher's loss compares, what it refuses, and that it is part of the run and not of the model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import effdet
from effdet.model import VisionModel
from effdet.training import newest_valid
from effdet.training.distillation import Distillation, shared_classes
from effdet.training.extra_losses import ExtraLoss
from effdet.training.optimizers import parameter_groups
from effdet.training.settings import DistillationSettings, OptimizerSettings
from heads.protocol import Context
from heads.structures import Batch, ClassTable, Targets, UserError
from tests.training.test_resume import EVERY, Stop, StopAt, assert_same, last, run

NAMES = ["car", "person", "dog"]


def model(task="detection", phi=-4.0, names=NAMES, seed=0, **options) -> VisionModel:
    torch.manual_seed(seed)
    made = effdet.create_model(task=task, phi=phi, num_classes=len(names), image_size=64, weights=None, **options)
    classes = {name: ClassTable.of(names) for name in made.classes}
    made.spec = made.spec.replace(classes=classes)
    return made.train()


def batch(images=2) -> Batch:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (images, 3, 64, 64), generator=generator, dtype=torch.uint8)
    return Batch(pixels, Targets(), torch.arange(images))


def terms(distillation: Distillation, student: VisionModel, given: Batch | None = None) -> dict[str, Tensor]:
    given = given or batch()
    images = student.preprocess.normalise(given.images)
    outputs = student(images, 0.5, levels=distillation.levels)
    return distillation(student, given, outputs, Context.of(images, 0.5))


def distil(student: VisionModel, teacher: VisionModel, **settings: Any) -> Distillation:
    return Distillation(student, teacher, name="runs/t", settings=DistillationSettings(**settings), seed=0)


def test_a_model_has_nothing_to_learn_from_itself():
    student = model().eval()
    found = distil(student, student)
    assert not found.projections and found.levels == ("P3", "P4", "P5", "P6", "P7")
    values = terms(found, student)
    assert set(values) == {"distillation/features", "distillation/detection_class", "distillation/detection_box"}
    for name, value in values.items():
        assert value.dtype == torch.float32 and value.item() == pytest.approx(0, abs=2e-4), name


def test_every_part_learns_and_the_teacher_does_not():
    student, teacher = model(), model(phi=-3.5, seed=1)
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    found = distil(student, teacher)
    torch.stack(list(terms(found, student).values())).sum().backward()
    for name, parameter in (*student.named_parameters(), *found.named_parameters()):
        assert parameter.grad is not None and torch.isfinite(parameter.grad).all(), name
    assert {item.split(".")[1] for item in found.state_dict()} == {"P3", "P4", "P5", "P6", "P7"}
    assert all(parameter.grad is None for parameter in found.teacher.parameters())
    assert all(torch.equal(value, before[name]) for name, value in teacher.state_dict().items())
    found.train()
    assert not any(module.training for module in found.teacher.modules())


def test_weights_scale_their_terms_and_zero_leaves_them_out():
    student, teacher = model(), model(phi=-3.5, seed=1)
    student.eval()
    once = terms(distil(student, teacher, features=1.0, logits=1.0), student)
    twice = terms(distil(student, teacher, features=2.0, logits=3.0), student)
    for name, value in once.items():
        torch.testing.assert_close(twice[name], (2 if name.endswith("features") else 3) * value)
    assert set(terms(distil(student, teacher, features=0.0), student)) == set(once) - {"distillation/features"}
    assert set(terms(distil(student, teacher, logits=0.0), student)) == {"distillation/features"}


def test_micro_batches_average_to_the_batch():
    student, teacher = model().eval(), model(phi=-3.5, seed=1)
    found, whole = distil(student, teacher), batch(4)
    parts = [replace(whole, images=whole.images[i : i + 2], indices=whole.indices[i : i + 2]) for i in (0, 2)]
    each = [terms(found, student, part) for part in parts]
    for name, value in terms(found, student, whole).items():
        torch.testing.assert_close(value, torch.stack([part[name] for part in each]).mean())


def test_the_teacher_sees_its_own_pixel_statistics():
    student, teacher = model().eval(), model(phi=-3.5, seed=1)
    other = model(phi=-3.5, seed=1)
    other.spec = other.spec.replace(preprocess=replace(other.preprocess, mean=(0.5,) * 3, std=(0.5,) * 3))
    found, given = distil(student, other), batch()
    seen: list[Tensor] = []
    found.teacher.backbone.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    terms(found, student, given)
    torch.testing.assert_close(seen[0], given.images / 127.5 - 1, atol=1e-5, rtol=0)
    same = distil(student, teacher)
    same.teacher.backbone.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    terms(same, student, given)
    torch.testing.assert_close(seen[1], student.preprocess.normalise(given.images))


def test_classes_are_joined_by_name():
    found = shared_classes(ClassTable.of(["Car", "tree", "dog"]), ClassTable.of(["dog", "cat", "car"]))
    assert (found.own, found.teacher) == ((0, 2), (2, 0))


@pytest.mark.parametrize("task", ["segmentation", "classification"])
def test_other_tasks(task):
    student, teacher = model(task), model(task, phi=-3.5, seed=1, names=["tree", *NAMES])
    head = next(iter(student.heads))
    values = terms(distil(student, teacher), student)
    expected = {f"distillation/{head}_{'pixels' if task == 'segmentation' else 'class'}"}
    assert set(values) - {"distillation/features"} == expected
    torch.stack(list(values.values())).sum().backward()
    assert all(parameter.grad is not None for parameter in student.backbone.parameters())
    if task == "classification":
        assert set(values) == expected


def test_bf16_and_channels_last():
    student, teacher = model().eval(), model(phi=-3.5, seed=1)
    found = distil(student, teacher)
    plain = terms(found, student)
    student.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    found.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    images = student.preprocess.normalise(batch().images.contiguous(memory_format=torch.channels_last))
    with torch.autocast("cpu", torch.bfloat16):
        outputs = student(images, 0.5, levels=found.levels)
        mixed = found(student, batch(), outputs, Context.of(images, 0.5))
    for name, value in plain.items():
        assert mixed[name].dtype == torch.float32
        assert mixed[name].item() == pytest.approx(value.item(), rel=0.2, abs=5e-3), name


@pytest.mark.parametrize(
    ("student", "teacher", "settings", "text"),
    [
        (
            "detection",
            model("segmentation"),
            {},
            "teacher=runs/t: it has a head semantic, this model detection; use a teacher of the same task",
        ),
        (
            "classification",
            model("classification", names=["x", "y"]),
            {},
            "teacher=runs/t: nothing to learn from it: no level of the necks is compared (distillation.features=4) and no "
            "head's logits (distillation.logits=1; classification: no class has the same name)",
        ),
        ("detection", model(), {"features": 0.0, "logits": 0.0}, "(distillation.features=0)"),
    ],
)
def test_refusals(student, teacher, settings, text):
    with pytest.raises(UserError) as caught:
        distil(model(student), teacher, **settings)
    assert text in str(caught.value) and "\n" not in str(caught.value)


def test_what_is_compared_is_said():
    student, teacher = model(), model(phi=-3.5, seed=1, names=["tree"])
    assert str(distil(student, teacher)) == (
        "teacher: runs/t (efficientdet_phi-3.5, 1.4 million parameters), not trained\n"
        "  maps: P3, P4, P5, P6, P7, projected 16 -> 24 channels; channel-wise, weight 4, temperature 4\n"
        "  not compared: logits of detection: no class has the same name"
    )


def test_projections_are_trained_with_the_rest():
    student = model()
    found = distil(student, model(phi=-3.5, seed=1))
    groups = parameter_groups(student, OptimizerSettings(), 0.1, found)
    grouped = {id(p): group["name"] for group in groups for p in group["params"]}
    names = {name.rpartition(".")[2]: grouped[id(p)] for name, p in found.named_parameters()}
    assert names == {"weight": "rest", "bias": "rest (no decay)"}
    without = parameter_groups(student, OptimizerSettings(), 0.1)
    assert [group["name"] for group in groups] == [group["name"] for group in without]


class FakeExtra(ExtraLoss):
    """A loss with a weight of its own and a companion that is in no state."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = torch.nn.Parameter(torch.tensor([[1.0]]))
        self._other = (torch.nn.Linear(3, 3),)

    def companions(self):
        return self._other

    def forward(self, model, batch, outputs, context):
        return {"fake/term": (self.scale * outputs["detection"].square().mean()).sum()}


def test_a_run_with_an_extra_loss_resumes_exactly_and_saves_it_beside_the_model(tmp_path: Path) -> None:
    def go(directory: Path, **more: Any) -> None:
        run(directory, losses=(FakeExtra(),), **EVERY, **more)

    go(tmp_path / "whole")
    with pytest.raises(Stop):
        go(tmp_path / "killed", extra=(StopAt("on_train_batch_end", 9),))
    go(tmp_path / "killed", resume=newest_valid(tmp_path / "killed"))
    assert_same(tmp_path / "killed", tmp_path / "whole")
    ended, whole = last(tmp_path / "killed"), last(tmp_path / "whole")
    assert list(ended["extra_state_dict"]) == ["extra.0.scale"]
    assert torch.equal(ended["extra_state_dict"]["extra.0.scale"], whole["extra_state_dict"]["extra.0.scale"])
    assert ended["extra_state_dict"]["extra.0.scale"].item() != 1.0
    run(tmp_path / "plain", **EVERY)
    plain = last(tmp_path / "plain")
    for key in ("state_dict", "raw_state_dict"):
        assert list(ended[key]) == list(plain[key])
    assert "extra_state_dict" not in plain


def test_an_extra_loss_moves_its_companions():
    loss = FakeExtra().to(torch.float64)
    (other,) = loss.companions()
    assert other.weight.dtype == torch.float64
