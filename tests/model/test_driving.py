"""Segmentation and driving models: composition, weights, folding."""

import pytest
import torch

import effdet
from effdet.model import BalanceSpec, ModelSpec, build, fold, spec_for
from heads.protocol import Context
from heads.structures import ClassTable, Targets, UserError

COUNTS = {"detection": 3, "semantic": 5}
P3_P7 = ("P3", "P4", "P5", "P6", "P7")


def small(task="driving", **changes):
    return spec_for(task=task, phi=-4, num_classes=changes.pop("num_classes", COUNTS), image_size=64, **changes)


def shaken(spec):
    """A model whose every number is random, so that equal outputs mean equal computations."""
    torch.manual_seed(0)
    model = build(spec)
    with torch.no_grad():
        for name, value in model.state_dict().items():
            if value.is_floating_point():
                noise = torch.rand_like(value) if name.endswith("running_var") else 0.2 * torch.randn_like(value)
                value.add_(noise)
    return model.eval()


def targets(batch=2, size=64):
    boxes = torch.tensor([[[8.0, 8.0, 40.0, 48.0]]]).repeat(batch, 1, 1)
    labels = torch.ones(batch, 1, dtype=torch.int64)
    semantic = torch.randint(0, 5, (batch, size, size), dtype=torch.uint8)
    return Targets(boxes=boxes, labels=labels, semantic=semantic, has_boxes=torch.ones(batch, dtype=torch.bool))


def test_the_readme_line():
    with torch.device("meta"):
        model = effdet.create_model(task="driving", backbone="b1", num_classes={"detection": 8, "semantic": 19})
        outputs = model(torch.zeros(1, 3, 128, 256))
    assert list(outputs) == ["detection", "semantic"]
    assert outputs["detection"].class_logits.shape[2] == 8 and outputs["semantic"].shape == (1, 19, 16, 32)


def test_papers_segmentation_model():
    """arXiv 1911.09070, section 5.2: B4, P2 to P7, 128 channels and 3 cells, a head of 256 channels and 3 convolutions."""
    spec = spec_for(task="segmentation", backbone="b4", num_classes=21)
    options = spec.heads["semantic"].options
    assert (spec.neck.channels, spec.neck.repeats, options["channels"], options["repeats"]) == (128, 3, 256, 3)
    assert spec.neck.levels == ("P2", *P3_P7) and spec.neck.outputs == ("P2",)
    with torch.device("meta"):
        parameters = sum(parameter.numel() for parameter in build(spec).parameters())
    assert parameters == pytest.approx(17e6, rel=0.1)  # published: 17M


def test_the_neck_spans_the_union_and_detection_stays():
    spec = small()
    assert spec.neck.levels == (*P3_P7, "P8", "P9") and spec.neck.outputs is None
    assert tuple(spec.heads["detection"].options["levels"]) == P3_P7
    fine = small(heads={"semantic": {"levels": ["P2", "P3", "P4"], "merge": "finest"}})
    assert fine.neck.levels == ("P2", *P3_P7) and fine.neck.outputs is None
    with pytest.raises(UserError, match=r"auxiliary.level='C9'"):
        small(heads={"semantic": {"auxiliary": {"level": "C9"}}})


@pytest.mark.parametrize("task", ["segmentation", "driving"])
def test_a_description_survives(task):
    spec = small(task, balance=BalanceSpec("uncertainty") if task == "driving" else None)
    assert ModelSpec.from_dict(spec.to_dict()) == spec


@pytest.mark.parametrize("task", ["segmentation", "driving"])
def test_every_parameter_learns(task):
    """Also in the fine design, where most nodes of the last cell would have no reader."""
    changes = {
        "heads": {"semantic": {"auxiliary": {"level": "C4"}, "merge": "finest" if task == "segmentation" else "sum"}}
    }
    model = build(small(task, balance=BalanceSpec("uncertainty"), **changes)).train()
    outputs = model(torch.randn(2, 3, 64, 64))
    terms = model.loss(outputs, targets(), Context((64, 64)))
    assert {name.split("/")[0] for name in terms} == set(model.heads)
    assert "semantic/auxiliary" in terms and ("semantic/log_variance" in terms) == (task == "driving")
    torch.stack(list(terms.values())).sum().backward()
    assert [name for name, parameter in model.named_parameters() if parameter.grad is None] == []


def test_labels_of_one_task_teach_the_other_nothing():
    model = build(small()).train()
    everything = targets()
    nowhere = torch.full_like(everything.semantic, 255)
    no_masks = Targets(everything.boxes, everything.labels, nowhere, has_boxes=torch.ones(2, dtype=torch.bool))
    no_boxes = Targets(
        everything.boxes, everything.labels, everything.semantic, has_boxes=torch.zeros(2, dtype=torch.bool)
    )
    outputs = model(torch.randn(2, 3, 64, 64))
    full, boxes, maps = (model.loss(outputs, kind, Context((64, 64))) for kind in (everything, no_masks, no_boxes))
    assert boxes["semantic/cross_entropy"].item() == 0 and boxes["detection/class"] == full["detection/class"]
    assert maps["detection/class"].item() == 0 and maps["detection/box"].item() == 0
    assert maps["semantic/cross_entropy"] == full["semantic/cross_entropy"]


@pytest.mark.parametrize("task", ["segmentation", "driving"])
@pytest.mark.parametrize("merge", ["finest", "weighted"])
def test_folding_changes_nothing(task, merge):
    model = shaken(small(task, heads={"semantic": {"merge": merge}}))
    images = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        plain, folded = model(images), fold(model)(images)
    scale = plain["semantic"].abs().max()
    assert scale > 0.1 and torch.allclose(plain["semantic"], folded["semantic"], atol=1e-4 * float(scale))


def test_files_bring_both_class_tables(tmp_path):
    classes = {
        "detection": ClassTable.of(["car", "bus"]),
        "semantic": ClassTable.of(["road", "sky", "car"], first_id=7),
    }
    model = shaken(spec_for(task="driving", phi=-4, classes=classes, image_size=64, balance=BalanceSpec("uncertainty")))
    effdet.save(model, tmp_path / "m.safetensors")
    again = effdet.load(tmp_path / "m.safetensors")
    assert again.spec == model.spec and again.classes == classes
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("levels", [("P2", *P3_P7), (*P3_P7, "P8", "P9")])
def test_a_detectors_weights_fit_the_wider_neck(tmp_path, levels):
    """Where inputs agree the values are the file's; new levels and the head that the file lacks stay fresh, and are named."""
    detector = shaken(spec_for(task="detection", phi=-4, num_classes=3, image_size=64))
    effdet.save(detector, tmp_path / "d.safetensors")
    merge = "finest" if levels[0] == "P2" else "sum"
    driving = build(small(heads={"semantic": {"levels": list(levels), "merge": merge}}))
    report = effdet.load_weights(driving, tmp_path / "d.safetensors")
    state = driving.state_dict()
    for name, value in detector.state_dict().items():
        if state[name].shape == value.shape:
            assert torch.equal(state[name], value), name
        else:  # a fusion that has one input more
            assert name.startswith("neck.") and name.endswith("fuse.weights") and name in report.fresh
    fresh = set(report.fresh)
    assert {name for name in state if name.startswith("heads.semantic.") and "num_batches" not in name} <= fresh
    assert all(name.startswith(("neck.", "heads.semantic.")) for name in fresh)
    assert "fresh" in str(report)


def test_a_driving_models_weights_are_refused_by_a_detector(tmp_path):
    effdet.save(shaken(small()), tmp_path / "d.safetensors")
    detector = build(spec_for(task="detection", phi=-4, num_classes=3, image_size=64))
    with pytest.raises(UserError, match="left over"):
        effdet.load_weights(detector, tmp_path / "d.safetensors")
