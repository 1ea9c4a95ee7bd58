"""``python -m benchmarks [ROW …]``: runs rows, prints and writes the table."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks import inputs
from benchmarks.pairing import BenchmarkError, Paired, Side, interleave
from benchmarks.rows import Row, rows
from benchmarks.startup import startup_rows
from benchmarks.table import Line, write_table


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        options = _options()
        known = rows(Path(folder), options.coco)
        names = options.rows or [*known, "startup"]
        if unknown := [name for name in names if name not in known and name != "startup"]:
            raise SystemExit(f"{unknown[0]}: no such row; there are {', '.join(known)}, startup")
        makers = _inputs(Path(folder), options)
        lines: list[Line] = []
        for name in names:
            if name == "startup":
                lines += startup_rows()
                continue
            row = known[name]
            if missing := [need for need in row.needs if getattr(options, need) is None]:
                lines.append(Line(row.title, row.aim, note=f"not run: needs --{' and --'.join(missing)}"))
            else:
                lines.append(_line(row, Path(folder), makers, options))
            print(lines[-1].text(), flush=True)
        write_table(lines, Path(options.out), threads=options.threads)
        print(options.out)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("rows", nargs="*", help="names of rows; all by default")
    parser.add_argument("--coco", help="COCO root with val2017/ and its annotations")
    parser.add_argument("--lite0", help="Google's EfficientDet-Lite0 .tflite file")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, help="of every row, instead of each row's own number")
    parser.add_argument("--out", default="benchmarks.json", help="a .md table is written beside it")
    return parser.parse_args()


def _inputs(folder: Path, options: argparse.Namespace) -> dict[str, Callable[[], None]]:
    return {
        "real.npz": lambda: inputs.real_logits(folder / "real.npz", Path(options.coco), Path(options.lite0)),
        "synthetic.npz": lambda: inputs.synthetic_logits(folder / "synthetic.npz"),
        "truth.json": lambda: inputs.large_set(folder / "truth.json", folder / "results.json"),
    }


def _line(row: Row, folder: Path, makers: dict[str, Callable[[], None]], options: argparse.Namespace) -> Line:
    for file, make in makers.items():
        if any(str(folder / file) == value for value in row.ours.values()) and not (folder / file).exists():
            make()
    try:
        paired, check = _compare(row, folder, options)
    except BenchmarkError as error:
        return Line(row.title, row.aim, note=f"failed: {str(error).strip().splitlines()[-1]}")
    return Line(row.title, row.aim, paired, check)


def _compare(row: Row, folder: Path, options: argparse.Namespace) -> tuple[Paired, str]:
    peer = Side.ours(options.threads) if row.against == "ours" else Side.peer(row.against, options.threads)
    shared = {"weights": str(folder / "weights.pth")} if row.weights else {}
    with Side.ours(options.threads) as ours, peer:
        before = [side.ask(do="memory")["memory"]["now"] for side in (ours, peer)]
        peer.ask(do="prepare", case=row.peer_case or row.case, arguments={**row.peer, **shared})
        ours.ask(do="prepare", case=row.case, arguments={**row.ours, **shared})
        paired = interleave(ours, peer, (before[0], before[1]), rounds=options.rounds or row.rounds)
        answers = []
        for name, side in (("ours", ours), ("peer", peer)):
            side.ask(do="answer", path=str(folder / f"{name}.npz"))
            with np.load(folder / f"{name}.npz") as stored:
                answers.append(dict(stored))
    return paired, row.check(*answers)


if __name__ == "__main__":
    main()
