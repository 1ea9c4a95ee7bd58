"""Backbones that are not ours, as a user runs them: from training to the exported file's predictions, and resumed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from torch import nn

from effdet.cli.app import main
from effdet.streets import scene
from effdet.weights import load
from effdet.weights.read import read_weights
from tests.cli.conftest import problems

PLUGINS = Path(__file__).parents[1] / "plugins"
COEFFICIENTS = ["phi=1", "alpha=1.2", "beta=1.1", "gamma=1.15"]
QUICK = ["data=streets", "max_images=8", "batch_size=4", "image_size=96", "device=cpu", "workers=0", "progress=false"]


@pytest.fixture
def street(tmp_path):
    from PIL import Image

    Image.fromarray(scene(0, "val", 0, 96).image).save(tmp_path / "street.png")
    return tmp_path / "street.png"


def run(*overrides: object) -> None:
    assert main([str(override) for override in overrides]) == 0


def whole_way(run_dir: Path, street: Path, *backbone: str, trust: bool = False) -> None:
    """Train an epoch, evaluate, export, predict with the exported file, and train another epoch."""
    config_dir = ["--config-dir", str(PLUGINS)] if trust else []
    trusted = ["trust=true"] if trust else []
    overrides = [*config_dir, *backbone, *QUICK, "weights=none", "report=false", f"run_dir={run_dir}"]
    run("train", *overrides, "trainer.max_epochs=1")
    run("evaluate", *config_dir, *trusted, f"model={run_dir}", f"out={run_dir}/evaluated", "workers=0", "report=false")
    metrics = json.loads((run_dir / "evaluated" / "metrics.json").read_text())
    assert 0 <= metrics["AP"] <= 1
    for form, suffix in (("torchscript", ".torchscript"), ("torch_export", ".pt2")):
        file = run_dir / f"model{suffix}"
        run("export", *config_dir, *trusted, f"model={run_dir}", f"format={form}", f"out={file}", "gate.images=2")
        run(
            "predict",
            f"model={file}",
            f"source={street}",
            f"out={run_dir}/{form}",
            "score_threshold=0.0",
        )
        assert (run_dir / form / "street.jpg").is_file()
    run("train", *overrides, "trainer.max_epochs=2", "resume=auto")
    assert (run_dir / "metrics.csv").read_text().count("\n") > 2


@pytest.mark.slow
@pytest.mark.parametrize("name", ["convnext_atto", "resnet10t", "mobilenetv3_small_050"])
def test_networks_of_timm_go_the_whole_way(name, tmp_path, street, capsys):
    pytest.importorskip("timm")
    whole_way(tmp_path / "run", street, "backbone=timm", f"backbone.name={name}")
    said = capsys.readouterr().out
    assert said.count(f"backbone {name}: ") == 1 and "GMACs" in said  # a resumed run has its model in its checkpoint


@pytest.mark.slow
def test_a_class_of_the_users_own_goes_the_whole_way(tmp_path, street, capsys):
    whole_way(tmp_path / "run", street, "backbone._target_=own_backbone.Strided", "backbone.width=8", trust=True)
    assert main(["evaluate", f"model={tmp_path / 'run'}", "workers=0"]) == 2
    assert "imports own_backbone.Strided, and importing runs code" in capsys.readouterr().err
    assert load(tmp_path / "run", trust=True).backbone.channels == (8, 16, 32, 64)


@pytest.mark.slow
def test_weights_of_timm_from_a_file_are_recorded_and_parts_freeze(tmp_path, capsys):
    timm = pytest.importorskip("timm")
    from safetensors.torch import save_file

    network = timm.create_model("resnet10t")
    for norm in [layer for layer in network.modules() if isinstance(layer, nn.BatchNorm2d)]:
        nn.init.uniform_(norm.weight, 0.5, 1.5)  # timm starts the last of a block at 0, through which nothing learns
        norm.running_mean.normal_(std=0.1)  # else they would be measured, as those of a folded file
        norm.running_var.uniform_(0.5, 1.5)
    save_file(network.state_dict(), tmp_path / "resnet10t.safetensors")
    overrides = ["backbone=timm", "backbone.name=resnet10t", *QUICK, f"weights={tmp_path / 'resnet10t.safetensors'}"]
    freeze = "freeze=[bn,backbone.net.conv1,backbone.net.layer1]"
    # two steps have to be seen in float32
    rates = ["optimizer.lr=1", "optimizer.base_batch_size=null", "optimizer.warmup_epochs=0"]
    optimizer = [*rates, "optimizer.backbone_lr_scale=0.1", "optimizer.layer_decay=0.8"]
    run("train", *overrides, *optimizer, freeze, "trainer.max_epochs=1", "report=false", f"run_dir={tmp_path / 'run'}")
    said = capsys.readouterr().out
    assert "timm layout, fills the backbone" in said
    trained = read_weights(tmp_path / "run" / "checkpoints" / "last.ckpt", raw=True).tensors
    given = read_weights(tmp_path / "resnet10t.safetensors").tensors
    assert trained["backbone.net.layer1.0.conv1.weight"].equal(given["layer1.0.conv1.weight"])
    assert trained["backbone.net.bn1.running_mean"].equal(given["bn1.running_mean"])
    assert not trained["backbone.net.layer4.0.conv1.weight"].equal(given["layer4.0.conv1.weight"])


def test_what_timm_lacks_is_found_before_it_is_imported(monkeypatch):
    import sys

    from effdet.cli.app import COMMANDS, prepare
    from effdet.cli.overrides import ConfigError, split_overrides

    pytest.importorskip("timm")
    monkeypatch.setitem(sys.modules, "timm.models", None)  # an import would fail
    for overrides, text in (
        (["backbone.name=convnext_ato"], "timm has no such network; did you mean convnext_atto?"),
        (["backbone.name=resnet18.a1_in1k"], None),
        ([], "says not which"),
        (["backbone.name=resnet18", "backbone.library=tim"], "backbone.library=tim: must be timm"),
    ):
        split = split_overrides(["backbone=timm", *overrides])
        if text is None:
            prepare(COMMANDS["train"], split)
            continue
        with pytest.raises(ConfigError, match="backbone") as caught:
            prepare(COMMANDS["train"], split)
        assert text in str(caught.value)


def test_keys_of_a_class_are_its_own_and_those_of_ours_do_not_reach_it():
    assert "backbone.width" in problems("train", "backbone.width=8")[0]


@pytest.mark.parametrize(
    ("target", "text"),
    [
        ("Unfit", "backbone Unfit has maps at strides 8, 16, 32, 64; they must rise, and be some of"),
        ("no_module", "backbone no_module is a Tensor; it must be a torch.nn.Module"),
        ("Strided backbone.widht=3", "takes no argument widht; did you mean width?"),
        ("Stride", "own_backbone has no Stride; did you mean Strided?"),
    ],
)
def test_what_is_wrong_with_a_class_is_one_line(target, text, tmp_path, capsys):
    overrides = f"backbone._target_=own_backbone.{target}".split()
    assert (
        main(["train", "--config-dir", str(PLUGINS), *overrides, *QUICK, "weights=none", f"run_dir={tmp_path / 'run'}"])
        == 2
    )
    assert text in capsys.readouterr().err


def test_scale_takes_our_backbones_only(tmp_path, capsys):
    pytest.importorskip("timm")
    assert main(["scale", "backbone=timm", "backbone.name=resnet10t", *COEFFICIENTS, f"out={tmp_path / 'm.json'}"]) == 2
    assert "only backbones of ours have stages to scale" in capsys.readouterr().err
