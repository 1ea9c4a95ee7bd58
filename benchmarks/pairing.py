"""Two processes, turn by turn."""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from types import TracebackType
from typing import Any, Self

HERE = Path(__file__).parent
PEERS = {
    "effdet": ("effdet_peer.py", ("effdet==0.4.1", "timm", "pycocotools", "numpy", "setuptools<81")),
    "torchvision": ("torchvision_peer.py", ("numpy",)),
    "smp": ("smp_peer.py", ("segmentation-models-pytorch", "numpy")),
    "ultralytics": ("ultralytics_peer.py", ("ultralytics", "numpy")),
}
"""Peer -> its script and what its environment holds; torch and torchvision are those of this environment."""


class BenchmarkError(RuntimeError):
    """A side could not do its part."""


class Side:
    """One side's process; use it as a context."""

    def __init__(self, command: Sequence[str], *, cwd: Path, threads: int) -> None:
        environment = os.environ | {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
        environment.pop("PYTHONPATH", None)
        if cwd == HERE.parent:
            environment["PYTHONPATH"] = str(cwd)
        self._log = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115 (closed on exit)
        self._process = subprocess.Popen(
            [*command, str(threads)],
            cwd=cwd,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )

    @classmethod
    def ours(cls, threads: int) -> Self:
        return cls([sys.executable, "-m", "benchmarks.ours"], cwd=HERE.parent, threads=threads)

    @classmethod
    def peer(cls, name: str, threads: int) -> Self:
        script, needs = PEERS[name]
        uv = shutil.which("uv") or shutil.which("uv", path=str(Path(sys.executable).parent))
        if uv is None:
            raise BenchmarkError("uv is needed for the peers' environments: pip install uv")
        shared = [f"{name}=={metadata.version(name).split('+')[0]}" for name in ("torch", "torchvision")]
        arguments = [argument for need in (*needs, *shared) for argument in ("--with", need)]
        python = f"{sys.version_info.major}.{sys.version_info.minor}"
        command = [
            uv,
            "run",
            "-q",
            "--no-project",
            "--python",
            python,
            *arguments,
            "python",
            str(HERE / "peers" / script),
        ]
        return cls(command, cwd=HERE / "peers", threads=threads)

    def ask(self, **request: Any) -> dict[str, Any]:
        """The reply to one request.

        Raises:
            BenchmarkError: the other process failed or ended.
        """
        pipe, replies = self._process.stdin, self._process.stdout
        assert pipe is not None and replies is not None
        try:
            pipe.write(json.dumps(request) + "\n")
            pipe.flush()
            line = replies.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            self._log.seek(0)
            lines = [text.strip() for text in self._log if text.strip()]
            raise BenchmarkError(f"its process ended: {lines[-1] if lines else 'it reported nothing'}")
        reply = json.loads(line)
        if "error" in reply:
            raise BenchmarkError(reply["error"])
        return reply

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._log.close()


@dataclass(frozen=True)
class Paired:
    """Times of both sides, round by round."""

    ours: tuple[float, ...]
    """Seconds."""
    peer: tuple[float, ...]
    ours_bytes: int
    """Most memory during the rounds, above what the process held before the case was prepared (its imports)."""
    peer_bytes: int

    @property
    def ratios(self) -> list[float]:
        return [mine / other for mine, other in zip(self.ours, self.peer, strict=True)]

    @property
    def ratio(self) -> float:
        return statistics.median(self.ratios)

    @property
    def spread(self) -> tuple[float, float]:
        """First and third quartile of the ratios."""
        low, _, high = statistics.quantiles(self.ratios, n=4)
        return low, high


def interleave(ours: Side, peer: Side, before: tuple[int, int], *, rounds: int, warm: int = 2) -> Paired:
    """Both sides' prepared work in turns, the first turn alternating; `before` is (ours', peer's) memory to subtract."""
    for _ in range(warm):
        ours.ask(do="run")
        peer.ask(do="run")
    seconds: dict[Side, list[float]] = {ours: [], peer: []}
    for index in range(rounds):
        for side in (ours, peer) if index % 2 == 0 else (peer, ours):
            seconds[side].append(side.ask(do="run")["seconds"])
    peaks = [side.ask(do="memory")["memory"]["peak"] - held for side, held in zip((ours, peer), before, strict=True)]
    return Paired(tuple(seconds[ours]), tuple(seconds[peer]), *peaks)
