"""Shared by all tests: one thread a process, and where the real data lies."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

# Before torch is imported: tests run side by side, and threads of one would wait for those of another.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder of real data sets and weights; the test is skipped where there is none."""
    named = os.environ.get("EFFDET_TEST_DATA")
    directory = Path(named) if named else Path(__file__).resolve().parents[2] / "shared" / "data"
    if not directory.is_dir():
        pytest.skip(f"no real data at {directory}; EFFDET_TEST_DATA names another folder")
    return directory
