"""``--cfg`` and ``--info`` print what Hydra composes, and set nothing for a training in the same process."""

from __future__ import annotations

import pytest
import yaml
from hydra.core.hydra_config import HydraConfig

from effdet.cli.app import main
from tests.cli.conftest import composed


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["task=driving", "backbone=b3", "seed=3"],
        ["experiment=quickstart", "run_dir=a b/=c,d", "logger=[wandb,mlflow]"],
        ["data=coco", "data.root=it's ${x}"],
    ],
)
def test_cfg_job_is_what_a_run_is_composed_of(overrides, capsys):
    assert main(["train", "--cfg", "job", "--resolve", *overrides]) == 0
    assert yaml.safe_load(capsys.readouterr().out) == composed("train", *overrides).to_dict()
    assert not HydraConfig.initialized()


def test_parts_of_the_configuration(capsys):
    assert main(["train", "--cfg", "job", "--package", "optimizer"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("# @package optimizer\n") and yaml.safe_load(text)["name"] == "auto"
    assert main(["train", "--cfg", "job"]) == 0
    assert "${oc.select:data.resize,null}" in capsys.readouterr().out
    assert main(["train", "--cfg", "hydra", "hydra.sweep.dir=x"]) == 0
    whole = yaml.safe_load(capsys.readouterr().out)
    assert list(whole) == ["hydra"] and whole["hydra"]["sweep"]["dir"] == "x"
    assert main(["evaluate", "model=x", "--cfg", "all", "-p", "split"]) == 0
    assert capsys.readouterr().out == "val\n"


def test_what_is_not_there_is_one_line(capsys):
    assert main(["train", "--cfg", "job", "-p", "optimiser"]) == 2
    assert capsys.readouterr().err == "error: --package optimiser: package 'optimiser' not found in config\n"
    assert main(["train", "--cfg", "job", "sed=1"]) == 2
    assert "did you mean seed?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("part", "text"),
    [
        ("all", "Installed Hydra Plugins"),
        ("config", "batch_size: auto"),
        ("defaults", "| optimizer/adamw "),
        ("defaults-tree", "optimizer: adamw"),
        ("plugins", "BasicLauncher"),
        ("searchpath", "| command-line | file://"),
    ],
)
def test_info(part, text, own_files, capsys):
    own = own_files({"data/mine.yaml": "name: mine\n"})
    assert main(["train", "--info", part, "--config-dir", str(own), "optimizer=adamw"]) == 0
    assert text in capsys.readouterr().out


def test_no_credential_is_printed(capsys):
    assert main(["train", "--cfg", "job", "weights=https://me:secret@host/w.ckpt"]) == 0
    text = capsys.readouterr().out
    assert "https://host/w.ckpt" in text and "secret" not in text


def test_a_primary_file_of_the_users_own(own_files, capsys):
    own = own_files({"mine.yaml": "defaults:\n  - train\n  - override data: coco\n  - _self_\nseed: 7\n"})
    assert main(["train", "--print", "-cd", str(own), "-cn", "mine", "batch_size=2"]) == 0
    values = yaml.safe_load(capsys.readouterr().out)
    assert (values["seed"], values["batch_size"], values["data"]["name"]) == (7, 2, "coco")
    assert main(["train", "--print", "-cn", "nowhere"]) == 2
    assert "nowhere" in capsys.readouterr().err
    wrong = own_files({"wrong.yaml": "defaults:\n  - train\n  - _self_\nsed: 7\n"})
    assert main(["train", "--print", "-cd", str(wrong), "-cn", "wrong"]) == 2
    assert "sed: no such key; did you mean seed?" in capsys.readouterr().err
