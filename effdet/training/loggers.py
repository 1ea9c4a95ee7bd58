"""Where the numbers go: ``metrics.csv`` always; TensorBoard, Weights & Biases and MLflow by name."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger, MLFlowLogger, TensorBoardLogger, WandbLogger
from lightning.pytorch.utilities import rank_zero_only

from effdet.files import write_text
from effdet.renamed import new_name, renew
from heads.structures import UserError

_FIRST = ("step", "epoch")


class CsvLogger(Logger):
    """``metrics.csv``: one row a call, on the disk before the call returns, and kept when a run is resumed.

    Lightning's own deletes the file on a resume and writes in blocks, so that a crash loses rows.

    Args:
        path: the file. An existing one is continued.
    """

    def __init__(self, path: str | Path) -> None:
        super().__init__()
        self.path = Path(path)
        self._header: list[str] | None = None

    @property
    def name(self) -> str:
        return "csv"

    @property
    def version(self) -> int:
        return 0

    @property
    def save_dir(self) -> str:
        return str(self.path.parent)

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        row = {"step": step, **metrics}
        header = self._read_header()
        if new := [name for name in row if name not in header]:
            self._rewrite(self.rows(), [*header, *new] if header else sorted(new, key=lambda name: name not in _FIRST))
        with self.path.open("a", newline="", encoding="utf-8") as file:
            file.write(_line([_text(row.get(name)) for name in self._header or []]))

    @rank_zero_only
    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        pass  # config.yaml has them

    def rows(self) -> list[dict[str, str]]:
        """All rows that are whole (a killed process may leave half of a last one)."""
        if not self.path.exists():
            return []
        text = self.path.read_text(encoding="utf-8")
        whole = text[: text.rfind("\n") + 1]
        return [renew(row) for row in csv.DictReader(io.StringIO(whole)) if None not in row.values()]

    @rank_zero_only
    def cut(self, step: int, *, evaluated: bool) -> None:
        """Drop what a resumed run will write again.

        Args:
            step: rows of later steps go.
            evaluated: whether the evaluation at `step` itself has been; if not, its row goes too.
        """
        rows = [
            row
            for row in self.rows()
            if int(row["step"]) < step
            or int(row["step"]) == step
            and (evaluated or not any(value and name.startswith("val/") for name, value in row.items()))
        ]
        self._rewrite(rows, self._read_header())

    @rank_zero_only
    def clear(self) -> None:
        """Drop all rows, of a run that begins anew."""
        if self.path.exists():
            self._rewrite([], [])

    def _read_header(self) -> list[str]:
        if self._header is None:
            self._header = []
            if self.path.exists():
                with self.path.open(newline="", encoding="utf-8") as file:
                    self._header = [new_name(name) or name for name in next(csv.reader(file), [])]
        return self._header

    def _rewrite(self, rows: Sequence[Mapping[str, str]], header: list[str]) -> None:
        """The whole file with another header, atomically."""
        lines = [header] if header else []
        lines += [[row.get(name, "") for name in header] for row in rows]
        write_text(self.path, "".join(map(_line, lines)))
        self._header = header


def _line(cells: Sequence[str]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerow(cells)
    return buffer.getvalue()


def _text(value: Any) -> str:
    return "" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)


_PACKAGES = {
    "tensorboard": "pip install tensorboard",
    "wandb": "pip install 'effdet-lightning[log]'",
    "mlflow": "pip install 'effdet-lightning[log]'",
}
"""By name of the logger, which is that of its package, how to install it."""


def make_loggers(names: Sequence[str], run_dir: Path) -> list[Logger]:
    """``metrics.csv`` in `run_dir`, and the loggers that `names` ask for.

    Raises:
        UserError: an unknown name, or one whose package is missing.
    """
    loggers: list[Logger] = [CsvLogger(run_dir / "metrics.csv")]
    for name in names:
        if name == "csv":
            continue
        if name not in _PACKAGES:
            raise UserError(f"logger={name!r} is unknown; use one of csv, {', '.join(_PACKAGES)}")
        if find_spec(name) is None:
            raise UserError(f"logger={name} needs the package {name}: {_PACKAGES[name]}")
        if name == "tensorboard":
            loggers.append(TensorBoardLogger(run_dir, name="", version="tensorboard"))
        elif name == "wandb":
            run = run_dir.name
            loggers.append(WandbLogger(save_dir=run_dir, name=run, project="effdet", id=run, resume="allow"))
        else:
            loggers.append(MLFlowLogger("effdet", run_name=run_dir.name, save_dir=str(run_dir / "mlruns")))
    return loggers
