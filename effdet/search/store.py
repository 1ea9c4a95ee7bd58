"""The study: every trial and the state of the searcher, in one SQLite file that survives a kill at any instant.

A study goes batch by batch. *Asking* for a batch is one transaction: the choices of its trials and the state that the
searcher is in after it has drawn them. Each trial that ends is a separate transaction. What a batch teaches the searcher
is not stored, since it follows from the stored state and the stored rewards. So whoever opens the file after a kill
finds the newest batch, runs the trials of it that have not ended, tells the searcher, and asks for the next, exactly as if
nothing had happened.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from effdet.renamed import renew_overrides
from heads.structures import UserError

FORMAT = 1
"""Version of the tables; raised when an old reader could misread a new file."""
ENDED = ("done", "failed", "nan")
STATES = ("waiting", "running", *ENDED)
_TABLES = """
CREATE TABLE study (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE batches (number INTEGER PRIMARY KEY, state BLOB NOT NULL, asked REAL NOT NULL);
CREATE TABLE trials (
    number INTEGER PRIMARY KEY,
    batch INTEGER NOT NULL REFERENCES batches,
    choices TEXT NOT NULL,
    state TEXT NOT NULL,
    reward REAL, accuracy REAL, cost REAL, seconds REAL,
    error TEXT NOT NULL DEFAULT '',
    same_as INTEGER REFERENCES trials
);
"""


@dataclass(frozen=True)
class Trial:
    """One candidate and what became of it."""

    number: int
    """From 0, in the order in which they were asked for."""
    batch: int
    choices: tuple[int, ...]
    state: str
    """One of ``STATES``."""
    reward: float | None = None
    accuracy: float | None = None
    cost: float | None = None
    seconds: float | None = None
    error: str = ""
    """One line, where it failed."""
    same_as: int | None = None
    """Number of the earlier trial with the same choices, whose outcome this one took over without being trained."""

    @property
    def ended(self) -> bool:
        return self.state in ENDED


class StudyStore:
    """The study in the file `path`, which is made where it does not exist.

    Args:
        settings: plain values that decide what the study finds. A file with other settings is refused.

    Raises:
        UserError: the file belongs to a study with other settings, to a newer version, or is no study.
    """

    def __init__(self, path: str | Path, settings: Mapping[str, Any]) -> None:
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(self.path, isolation_level=None)  # transactions are opened by hand
        try:
            # A commit is on the disk when it returns: FULL costs milliseconds, a trial minutes.
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")
            self._open(json.loads(json.dumps(settings)))
        except sqlite3.DatabaseError as error:
            self._db.close()
            raise UserError(f"{self.path}: not a study ({error}); name another run_dir") from error
        except BaseException:
            self._db.close()
            raise

    def _open(self, settings: dict[str, Any]) -> None:
        # In one transaction: of two processes that make the file, or of one that is killed, half a study is never seen.
        with _Transaction(self._db):
            empty = not self._db.execute("SELECT name FROM sqlite_master").fetchall()
            if empty:
                for statement in _TABLES.split(";"):
                    self._db.execute(statement)
                values = {"format": FORMAT, "settings": settings}
                self._db.executemany(
                    "INSERT INTO study VALUES (?, ?)", [(key, json.dumps(value)) for key, value in values.items()]
                )
        saved = self._study()
        if saved.get("format") != FORMAT:
            raise UserError(
                f"{self.path}: a study of format {saved.get('format')!r}, this version reads {FORMAT}; update effdet"
            )
        if differences := _differences(saved["settings"], settings):
            raise UserError(
                f"{self.path}: holds a study with other settings ({'; '.join(differences)}); leave these overrides out, "
                "or name another run_dir"
            )

    def _study(self) -> dict[str, Any]:
        study = {key: json.loads(value) for key, value in self._db.execute("SELECT key, value FROM study")}
        settings = study.get("settings")
        if isinstance(settings, dict) and isinstance(settings.get("trainings"), list):
            settings["trainings"] = renew_overrides(settings["trainings"])
        return study

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        self._db.close()

    @property
    def settings(self) -> dict[str, Any]:
        return self._study()["settings"]

    def trials(self, batch: int | None = None) -> list[Trial]:
        """All trials, or those of one batch, by number."""
        where, values = ("", ()) if batch is None else (" WHERE batch = ?", (batch,))
        rows = self._db.execute(
            "SELECT number, batch, choices, state, reward, accuracy, cost, seconds, error, same_as FROM trials"
            f"{where} ORDER BY number",
            values,
        )
        return [Trial(row[0], row[1], tuple(json.loads(row[2])), *row[3:]) for row in rows]

    def newest_batch(self) -> tuple[int, bytes] | None:
        """Number of the newest batch and the searcher's state after it was asked for; None before the first."""
        return self._db.execute("SELECT number, state FROM batches ORDER BY number DESC LIMIT 1").fetchone()

    def add_batch(self, choices: Iterable[Sequence[int]], state: bytes) -> list[Trial]:
        """Store a batch of new trials together with the `state` that the searcher is in after it drew them."""
        with _Transaction(self._db):
            batch = self._db.execute("SELECT COALESCE(MAX(number) + 1, 0) FROM batches").fetchone()[0]
            first = self._db.execute("SELECT COALESCE(MAX(number) + 1, 0) FROM trials").fetchone()[0]
            self._db.execute("INSERT INTO batches VALUES (?, ?, ?)", (batch, state, time.time()))
            self._db.executemany(
                "INSERT INTO trials (number, batch, choices, state) VALUES (?, ?, ?, 'waiting')",
                [(first + index, batch, json.dumps(list(chosen))) for index, chosen in enumerate(choices)],
            )
        return self.trials(batch)

    def price(self, number: int, cost: float) -> None:
        """The trial's cost, before it is trained: a measured one is not measured again after a kill."""
        with _Transaction(self._db):
            self._db.execute("UPDATE trials SET cost = ? WHERE number = ?", (cost, number))

    def start(self, number: int) -> None:
        """The trial is being trained."""
        with _Transaction(self._db):
            self._db.execute("UPDATE trials SET state = 'running' WHERE number = ?", (number,))

    def finish(
        self,
        number: int,
        state: str,
        *,
        reward: float,
        accuracy: float | None = None,
        cost: float | None = None,
        seconds: float = 0.0,
        error: str = "",
        same_as: int | None = None,
    ) -> None:
        """Record how a trial ended: ``done``, ``failed`` or ``nan``."""
        if state not in ENDED:
            raise ValueError(f"state must be one of {', '.join(ENDED)}, got {state!r}")
        with _Transaction(self._db):
            self._db.execute(
                "UPDATE trials SET state = ?, reward = ?, accuracy = ?, cost = ?, seconds = ?, error = ?, same_as = ? "
                "WHERE number = ?",
                (state, reward, accuracy, cost, seconds, error, same_as, number),
            )


class _Transaction:
    """All or nothing. ``IMMEDIATE`` takes the lock before reading, so that two writers wait for each other."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def __enter__(self) -> None:
        self._db.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: object, *error: object) -> None:
        self._db.execute("COMMIT" if kind is None else "ROLLBACK")


def _differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    return [
        f"{key}={new.get(key)}, there {old.get(key)}"
        for key in dict.fromkeys([*old, *new])
        if old.get(key) != new.get(key)
    ]
