"""The program as a shell sees it: output, exit codes, speed, and what it imports."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import effdet
from effdet.cli import app
from effdet.cli.app import COMMANDS
from effdet.cli.overrides import ConfigError

ROOT = Path(__file__).resolve().parents[2]
LIGHT = {
    "torch",
    "numpy",
    "lightning",
    "PIL",
    "albumentations",
    "rich",
    "heads.structures",
    "heads.detection",
    "backbones",
    "effdet.data",
    "effdet.model",
}
PROBE = """
import sys, time
from effdet.cli.app import main
code = main(sys.argv[1:])
print(code, f"{time.process_time():.2f}", *sys.modules, file=sys.stderr)
"""


def shell(*overrides: str, program: str | None = None) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "effdet"] if program is None else [sys.executable, program]
    return subprocess.run([*command, *overrides], capture_output=True, text=True, cwd=ROOT, timeout=120, check=False)


@pytest.mark.parametrize(
    "overrides",
    [
        ["train", "--help"],
        ["train", "backbon=b3", "data=cocoo"],
        ["train", "--print", "data=coco"],
        ["evaluate"],
        ["train", "optimizer.name=lion", "optimizer.schedule=poly", "head.detection.loss.matcher=sim"],
        ["train", "backbone.activation=swish", "backbone.name=convnext_tiny", "task.name=depth"],
    ],
)
def test_answers_come_at_once(overrides):
    result = subprocess.run(
        [sys.executable, "-c", PROBE, *overrides], capture_output=True, text=True, cwd=ROOT, timeout=120, check=True
    )
    _, seconds, *modules = result.stderr.splitlines()[-1].split()
    loaded = {name for name in modules if name in LIGHT or name.partition(".")[0] in LIGHT}
    assert not loaded
    # Processor time, since other tests run beside this one; on an idle machine it is the time that passes.
    assert float(seconds) < 1.0


def test_importing_effdet_costs_nothing():
    text = "import effdet, sys; assert not {'torch', 'hydra', 'numpy', 'yaml'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", text], check=True, cwd=ROOT, timeout=60)


def test_public_names_are_there():
    for name in effdet.__all__:
        assert callable(getattr(effdet, name))
        assert name in dir(effdet)
    assert effdet.__version__
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = effdet.nothing


def test_errors_are_one_line_each_and_exit_with_2():
    result = shell("train", "backbon=b3", "data=cocoo")
    assert result.returncode == 2
    assert result.stdout == ""
    lines = result.stderr.splitlines()
    assert len(lines) == 2
    assert all(line.startswith("error: ") for line in lines)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_script_is_its_command(name, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    result = shell("--help", program=f"scripts/{name}.py")
    assert result.returncode == 0
    assert app.main([name, "--help"]) == 0
    assert result.stdout == capsys.readouterr().out


def test_help_lists_keys_and_choices(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "140")
    assert app.main(["train", "--help"]) == 0
    text = capsys.readouterr().out
    for expected in (
        "seed=0",
        "same seed, same run",
        "data=streets",
        "cityscapes, coco",
        "trainer.max_epochs=",
    ):
        assert expected in text
    assert app.main([]) == 0
    text = capsys.readouterr().out
    assert all(name in text for name in COMMANDS)


def test_a_wrong_command(capsys):
    assert app.main(["trian"]) == 2
    assert "did you mean train?" in capsys.readouterr().err


def test_the_configuration_is_printed(capsys):
    assert app.main(["train", "--print", "data=coco", "run_dir=a, b=${c}"]) == 0
    text = capsys.readouterr().out
    assert "name: coco" in text
    assert "run_dir: a, b=${c}" in text


def test_own_files_are_listed(capsys, own_files):
    directory = own_files({"data/mine.yaml": "# Mine.\nname: coco\n"})
    assert app.main(["train", "--help", "--config-dir", str(directory)]) == 0
    assert "yolo, mine" in " ".join(capsys.readouterr().out.split())


@pytest.fixture
def failing(monkeypatch):
    """``failing(error)``: the command `info` raises it."""

    def fail_with(error: BaseException) -> None:
        def fail(*_):
            raise error

        monkeypatch.setattr(app, "run", fail)

    return fail_with


def test_a_missing_file_is_a_users_error(failing, capsys):
    failing(FileNotFoundError(2, "No such file or directory", "here.jpg"))
    assert app.main(["info"]) == 2
    assert capsys.readouterr().err == "error: here.jpg: No such file or directory\n"


def test_a_traceback_on_request(failing, monkeypatch):
    failing(ConfigError(["x"]))
    monkeypatch.setenv("EFFDET_TRACEBACK", "1")
    with pytest.raises(ConfigError):
        app.main(["info"])


def test_a_bug_keeps_its_traceback(failing):
    failing(KeyError("x"))
    with pytest.raises(KeyError):
        app.main(["info"])


def test_ctrl_c(failing):
    failing(KeyboardInterrupt())
    assert app.main(["info"]) == 130


def test_a_run_that_saved_itself_says_so(failing, capsys):
    from effdet.training import Interrupted

    failing(Interrupted(15, "saved; go on with resume=auto"))
    assert app.main(["info"]) == 143
    assert "saved; go on" in capsys.readouterr().err


def test_a_closed_pipe_is_no_error():
    command = f"{sys.executable} -m effdet train --help | head -1"
    result = subprocess.run(command, shell=True, capture_output=True, text=True, cwd=ROOT, timeout=60, check=False)
    assert result.stderr == ""


def test_the_wheel_brings_its_own_configuration(tmp_path):
    """As hatchling lays it out (``force-include``): ``conf/`` inside the package, none beside it."""
    for package in ("effdet", "heads", "backbones"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "conf", tmp_path / "effdet" / "conf")
    text = "from effdet.cli.schema import conf_dir; print(conf_dir())"
    result = subprocess.run([sys.executable, "-c", text], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == str(tmp_path / "effdet" / "conf")
    command = [sys.executable, "-m", "effdet", "train", "--print", "backbone=b3"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "name: b3" in result.stdout


def test_overrides_of_a_notebook_are_a_list():
    with pytest.raises(TypeError, match="takes a list of overrides"):
        effdet.train("task=detection")
    with pytest.raises(ConfigError, match="did you mean backbone"):
        effdet.train(["backbon=b0"])


def test_info(capsys):
    assert app.main(["info", "tf_efficientdet_d0"]) == 0
    assert "bifpn 64 × 3" in capsys.readouterr().out
    assert app.main(["info", "--env"]) == 0
    assert "torch" in capsys.readouterr().out
    assert app.main(["info", "phi=-4", "num_classes=3"]) == 0
    assert "3, without names" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("overrides", "text"),
    [
        (["tf_efficientdet_d00"], "did you mean tf_efficientdet_d0?"),
        (["backbone.name=b33"], "backbone.name=b33: no such backbone; did you mean b3?"),
        (["backbone.drop_path=0.9", "phi=7.5"], "phi=7.5"),
    ],
)
def test_info_of_what_there_is_not(overrides, text, capsys):
    assert app.main(["info", *overrides]) == 2
    error = capsys.readouterr().err.strip()
    assert text in error
    assert os.linesep not in error
