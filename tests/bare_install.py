"""``python -m tests.bare_install``: the wheel without extras and development tools trains, evaluates, predicts and exports.

A step of ``python -m tests``. The wheel is built and installed into an empty environment, with the versions of this one, so
that nothing is downloaded again; then its commands run there as a user would call them, on a few small scenes.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from importlib.metadata import distributions
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SCENES = """
from effdet import streets
print(streets.ensure(128, train=8, val=4, test=0, root="sets", progress=False))
"""


def uv() -> str:
    """The program that ``uv run`` was called by, else the one beside this Python or on the path."""
    found = os.environ.get("UV") or shutil.which(
        "uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    )
    if found is None:
        raise SystemExit("uv is not on the path: pip install uv")
    return found


def call(*command: str | Path, cwd: Path, environment: dict[str, str]) -> str:
    """The last line that `command` printed; a failure ends this program with all that it printed."""
    result = subprocess.run(
        list(map(str, command)), cwd=cwd, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if result.returncode:
        print(result.stdout)
        raise SystemExit(f"failed with {result.returncode}: {' '.join(map(str, command))}")
    return (result.stdout.strip().splitlines() or [""])[-1]


def install(directory: Path, environment: dict[str, str]) -> Path:
    """An environment in `directory` that holds the wheel and what it requires; returns its folder of programs."""
    call(
        uv(),
        "build",
        "--wheel",
        "--quiet",
        "--out-dir",
        directory / "dist",
        ROOT,
        cwd=directory,
        environment=environment,
    )
    (wheel,) = (directory / "dist").glob("*.whl")
    call(
        uv(), "venv", "--quiet", "--python", sys.executable, directory / "venv", cwd=directory, environment=environment
    )
    programs = directory / "venv" / ("Scripts" if os.name == "nt" else "bin")
    versions = sorted({f"{each.name}=={each.version}" for each in distributions() if each.name != "effdet-lightning"})
    (directory / "constraints.txt").write_text("\n".join(versions))
    python = ["--python", programs / "python"]
    call(uv(), "pip", "install", *python, "-c", "constraints.txt", wheel, cwd=directory, environment=environment)
    return programs


def use(programs: Path, directory: Path, environment: dict[str, str]) -> None:
    """The commands, each on what the one before has written."""

    def effdet(*overrides: str) -> Path:
        path = directory / call(programs / "effdet", *overrides, cwd=directory, environment=environment)
        if not path.exists():
            raise SystemExit(f"effdet {' '.join(overrides)}: the last line, {path}, is not the path of what it wrote")
        print(f"effdet {' '.join(overrides)}: ok", flush=True)
        return path

    scenes = call(programs / "python", "-c", SCENES, cwd=directory, environment=environment)
    data = (f"data.root={scenes}", "data.size=128", "max_images=8")
    effdet("train", "experiment=quickstart", *data, "trainer.max_epochs=1", "evaluation.every=1", "run_dir=run")
    effdet("evaluate", "model=run")
    effdet("predict", "model=run", f"source={scenes}/leftImg8bit/val", "out=predictions")
    effdet("export", "model=run", "format=torchscript", "out=model.torchscript")


def main() -> None:
    dropped = re.compile("PYTHONPATH|VIRTUAL_ENV|PYTEST_.*|EFFDET_.*|CONDA_.*")
    environment = {name: value for name, value in os.environ.items() if not dropped.fullmatch(name)}
    with tempfile.TemporaryDirectory(prefix="effdet-bare-") as name:
        directory = Path(name)
        environment |= {
            "EFFDET_CACHE": str(directory / "cache"),
            "OMP_NUM_THREADS": "1",
            "NO_COLOR": "1",
            "COLUMNS": "200",
        }
        use(install(directory, environment), directory, environment)


if __name__ == "__main__":
    main()
