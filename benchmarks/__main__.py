"""``python -m benchmarks [ROW …]``: runs rows, prints them and writes the table.

OUT.json holds every number, OUT.md the table between the marks ``<!-- benchmarks -->``, whatever else stands there, and
``--readme FILE`` gets a short one between the same marks. Rows of an earlier run that are not run again stay. A row that
cannot be run (a peer that cannot be installed, data that is missing) says so, and the others go on.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import inputs, table
from benchmarks.growth import growth_lines
from benchmarks.pairing import Paired, Side, interleave
from benchmarks.rows import Row, rows
from benchmarks.startup import startup_rows
from benchmarks.table import Line


def main() -> None:
    options = _options()
    out = Path(options.out)
    out.parent.mkdir(parents=True, exist_ok=True)
    data = out.with_name(f"{out.name}.json")
    with tempfile.TemporaryDirectory() as directory:
        known = rows(Path(directory), options.coco)
        several: dict[str, Callable[[], list[Line]]] = {
            "startup": startup_rows,
            "growth": lambda: growth_lines(out.with_name(f"{out.name}-growth.png"), threads=options.threads),
        }
        everything = [*known, *several]
        names = [*options.names, *filter(None, options.rows.split(","))] or everything
        if unknown := [name for name in names if name not in everything]:
            raise SystemExit(f"{unknown[0]}: no such row; there are {', '.join(everything)}")
        makers = _inputs(Path(directory), options)
        done = table.read_rows(data)
        for name in names:
            before = os.getloadavg()[0]
            lines = _several(name, several[name]) if name in several else [_line(name, known[name], makers, options)]
            for line in lines:
                print(line.text(), flush=True)
                when = {"load": [before, os.getloadavg()[0]], "date": datetime.now(UTC).date().isoformat()}
                done[line.name] = line.to_dict() | when
            _write(done, [*known, *sorted(set(done) - set(known))], out, data, options)  # now: no later row loses it
    print(out.with_name(f"{out.name}.md"))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="ROW", help="all by default")
    parser.add_argument("--rows", default="", help="the same as one word: a,b")
    parser.add_argument("--coco", help="COCO root with val2017/ and its annotations")
    parser.add_argument("--lite0", help="Google's EfficientDet-Lite0 .tflite file")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, help="of every row, instead of each row's own number")
    parser.add_argument("--out", default="docs/benchmarks", help="OUT.json, OUT.md, OUT-growth.png")
    parser.add_argument("--readme", help="a file that gets a short table")
    return parser.parse_args()


def _write(
    done: dict[str, dict[str, Any]], order: list[str], out: Path, data: Path, options: argparse.Namespace
) -> None:
    facts = table.machine(options.threads)
    listed = [done[name] for name in order if name in done]
    table.write_json(data, facts, listed)
    note = table.conditions(facts, listed)
    full = table.as_markdown(table.HEAD, (row["cells"] for row in listed))
    table.put_between_marks(out.with_name(f"{out.name}.md"), f"{full}\n\n{note}")
    if options.readme:
        short = [row["short"] for row in listed if row["aim"] != "–" and row["name"] in order]
        table.put_between_marks(Path(options.readme), f"{table.as_markdown(table.SHORT, short)}\n\n{note}")


def _inputs(directory: Path, options: argparse.Namespace) -> dict[str, Callable[[], None]]:
    return {
        "real.npz": lambda: inputs.real_logits(directory / "real.npz", Path(options.coco), Path(options.lite0)),
        "synthetic.npz": lambda: inputs.synthetic_logits(directory / "synthetic.npz"),
        "truth.json": lambda: inputs.large_set(directory / "truth.json", directory / "results.json"),
    }


def _several(name: str, run: Callable[[], list[Line]]) -> list[Line]:
    try:
        return run()
    except Exception as error:  # whatever it is, the other rows go on
        return [Line(name, name, "–", note=_failed(error))]


def _line(name: str, row: Row, makers: dict[str, Callable[[], None]], options: argparse.Namespace) -> Line:
    if missing := [need for need in row.needs if getattr(options, need) is None]:
        return Line(name, row.title, row.aim, note=f"not run: needs --{' and --'.join(missing)}")
    with tempfile.TemporaryDirectory() as directory:
        try:
            for file, make in makers.items():
                requested = next((Path(value) for value in row.ours.values() if str(value).endswith(file)), None)
                if requested is not None and not requested.exists():
                    make()
            paired, check = _compare(row, Path(directory), options)
        except Exception as error:  # whatever it is, the other rows go on
            return Line(name, row.title, row.aim, note=_failed(error))
    return Line(name, row.title, row.aim, paired, check)


def _failed(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"failed: {lines[-1] if lines else type(error).__name__}".replace("|", "/")


def _compare(row: Row, directory: Path, options: argparse.Namespace) -> tuple[Paired, str]:
    peer = Side.ours(options.threads) if row.against == "ours" else Side.peer(row.against, options.threads)
    shared = {"weights": str(directory / "weights.pth")} if row.weights else {}
    with Side.ours(options.threads) as ours, peer:
        before = [side.ask(do="memory")["memory"]["now"] for side in (ours, peer)]
        peer.ask(do="prepare", case=row.peer_case or row.case, arguments={**row.peer, **shared})
        ours.ask(do="prepare", case=row.case, arguments={**row.ours, **shared})
        paired = interleave(ours, peer, (before[0], before[1]), rounds=options.rounds or row.rounds)
        answers = []
        for name, side in (("ours", ours), ("peer", peer)):
            side.ask(do="answer", path=str(directory / f"{name}.npz"))
            with np.load(directory / f"{name}.npz") as stored:
                answers.append(dict(stored))
    return paired, row.check(*answers)


if __name__ == "__main__":
    main()
