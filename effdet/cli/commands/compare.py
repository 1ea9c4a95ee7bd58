"""``effdet compare``: two evaluations of the same images, and whether their difference is more than chance."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from effdet.cli.config import Config
from effdet.cli.job import is_sweep
from effdet.cli.outputs import refuse_json
from effdet.cli.overrides import Overrides
from effdet.cli.run import RunResult
from effdet.cli.sweep_table import sweep_table, to_markdown, write_table
from effdet.evaluation import write_json
from effdet.evaluation.tables import number
from effdet.report import comparison_page
from effdet.report.comparison import MAIN, conclusion, unsure
from effdet.report.numbers import signed
from effdet.report.statistics.bootstrap import Difference, paired_difference
from effdet.report.statistics.files import find_statistics, read_statistics, shared_heads
from heads.structures import UserError


def run(config: Config, overrides: Overrides) -> RunResult:
    """Read both, resample, print, write."""
    out = Path(config.out)
    sweeps = [Path(name) for name in (config.first, config.second) if name is not None and is_sweep(Path(name))]
    if sweeps and config.second is None:
        return _compare_jobs(sweeps[0], out, config.level)
    if sweeps:
        raise UserError(
            f"{sweeps[0]}: holds the jobs of a sweep; compare it without a second folder, or name one of its jobs"
        )
    refuse_json(out / "compare.json", "first", "second", "differences", key=f"out={out}", what="of compare")
    names = (str(config.first), str(config.second))
    first, second = (read_statistics(find_statistics(Path(name))) for name in names)
    heads = shared_heads(first, second, names)
    differences: dict[str, Difference] = {}
    for head in heads:
        pair = (first.statistics[head], second.statistics[head])
        differences |= paired_difference(*pair, samples=config.samples, seed=config.seed, level=config.level)
    images = max(first.statistics[head].images for head in heads)
    Console().print(_table(differences, str(first.identity), names))
    split = str(first.identity)
    record = {
        "first": names[0],
        "second": names[1],
        "split": asdict(first.identity),
        "images": images,
        "samples": config.samples,
        "seed": config.seed,
        "level": config.level,
        "differences": {name: {**asdict(value), "difference": value.value} for name, value in differences.items()},
    }
    write_json(out / "compare.json", record, indent=2)
    page = comparison_page(names, split, differences, images=images, samples=config.samples, level=config.level)
    page.write(out / "compare.html")
    print(out)
    return RunResult(out, {name: value.value for name, value in differences.items()})


def _compare_jobs(directory: Path, out: Path, level: float) -> RunResult:
    """The table of a sweep."""
    refuse_json(out / "sweep.json", "jobs", "settings", key=f"out={out}", what="of a sweep")
    table = sweep_table(directory, level=level)
    write_table(table, out)
    print(to_markdown(table), end="")
    print(out)
    return RunResult(out, {setting.name: setting.spread.mean for setting in table.settings})


def _table(differences: dict[str, Difference], split: str, names: tuple[str, str]) -> Table:
    table = Table(
        title=Text(f"B − A on {split}", "bold"),
        caption=Text(f"A: {names[0]}\nB: {names[1]}"),
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    for column in ("metric", "A", "B", "B − A", "interval", "p", ""):
        table.add_column(column, justify="left" if column in ("metric", "") else "right", no_wrap=True)
    main = [name for name in differences if name in MAIN]
    surest = sorted((name for name in differences if name not in MAIN), key=lambda name: unsure(differences[name]))
    for name in [*main, *surest[:5]]:
        value = differences[name]
        table.add_row(
            Text(name),
            number(value.first),
            number(value.second),
            signed(value.value),
            f"{signed(value.low)} … {signed(value.high)}",
            number(value.p),
            conclusion(value)[0],
            end_section=name == main[-1],
        )
    return table
