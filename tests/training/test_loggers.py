"""``metrics.csv``: rows that stay."""

from __future__ import annotations

from pathlib import Path

import pytest

from effdet.training.loggers import CsvLogger, make_loggers
from heads.structures import UserError


def test_rows_are_on_the_disk_at_once_and_columns_grow(tmp_path: Path) -> None:
    path = tmp_path / "run" / "metrics.csv"
    logger = CsvLogger(path)
    logger.log_metrics({"loss": 0.123456789, "epoch": 0}, step=1)
    assert path.read_text() == "step,epoch,loss\n1,0,0.123457\n"
    logger.log_metrics({"val/AP": 0.5, "epoch": 0}, step=1)
    logger.log_metrics({"loss": 0.1, "epoch": 1}, step=2)
    assert path.read_text() == "step,epoch,loss,val/AP\n1,0,0.123457,\n1,0,,0.5\n2,1,0.1,\n"


def test_a_resumed_file_is_continued_from_its_step(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    logger = CsvLogger(path)
    for step in range(1, 5):
        logger.log_metrics({"loss": float(step)}, step=step)
        logger.log_metrics({"val/AP": float(step)}, step=step)
    again = CsvLogger(path)
    again.cut(3, evaluated=False)
    assert [(row["step"], row["loss"], row["val/AP"]) for row in again.rows()] == [
        ("1", "1", ""), ("1", "", "1"), ("2", "2", ""), ("2", "", "2"), ("3", "3", ""),
    ]  # fmt: skip
    again.log_metrics({"val/AP": 7.0}, step=3)
    again.cut(3, evaluated=True)
    assert again.rows()[-1] == {"step": "3", "loss": "", "val/AP": "7"}


def test_half_a_row_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    CsvLogger(path).log_metrics({"a": 1.0, "b": 2.0}, step=1)
    with path.open("a") as file:
        file.write("2,1")
    logger = CsvLogger(path)
    logger.cut(5, evaluated=True)
    assert path.read_text() == "step,a,b\n1,1,2\n"


def test_cutting_nothing(tmp_path: Path) -> None:
    logger = CsvLogger(tmp_path / "metrics.csv")
    logger.cut(0, evaluated=True)
    assert logger.rows() == []


def test_loggers_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [type(logger).__name__ for logger in make_loggers(["tensorboard"], tmp_path)] == [
        "CsvLogger",
        "TensorBoardLogger",
    ]
    with pytest.raises(UserError, match="logger='wnb' is unknown; use one of csv, tensorboard, wandb, mlflow"):
        make_loggers(["wnb"], tmp_path)
    monkeypatch.setattr("effdet.training.loggers.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"logger=wandb needs the package wandb: pip install 'effdet-lightning\[log\]'"):
        make_loggers(["wandb"], tmp_path)
