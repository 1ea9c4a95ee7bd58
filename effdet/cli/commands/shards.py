"""``effdet shards``: a split of a set as tar shards and their index."""

from __future__ import annotations

from pathlib import Path

from rich.progress import Progress

from effdet.cli.assemble import open_split
from effdet.cli.config import Config
from effdet.cli.overrides import Overrides
from effdet.cli.run import RunResult
from effdet.data.shards import write_shards
from effdet.data.shards.index import index_path, load_index
from heads.structures import UserError


def run(config: Config, overrides: Overrides) -> RunResult:
    """Write, and say what was written."""
    out = Path(config.out)
    index = index_path(out, config.split)
    if not config.overwrite and (index.exists() or any(out.glob(f"{config.split}-[0-9]*.tar"))):
        raise UserError(f"out={out}: holds shards of split {config.split}; replace them by overwrite=true")
    root = config.get("data.root")
    if config.get("data.name") == "shards" and root is not None and out.exists() and out.samefile(root):
        raise UserError(f"out={out}: holds the shards that would be read; name another folder")
    source = open_split(config, config.split)
    for line in source.warnings:
        print(f"warning: {line}")
    with Progress(transient=True) as progress:
        task = progress.add_task("images", total=len(source))
        path = write_shards(
            source,
            out,
            megabytes=config.megabytes,
            shuffle=config.shuffle,
            advance=lambda count: progress.update(task, completed=count),
        )
    shards = load_index(path).shards
    size = sum(shard.size for shard in shards) / 1e6
    print(f"{len(source):,} images of {source.name} {config.split} in {len(shards)} shards, {size:,.1f} MB")
    print(out)
    return RunResult(out, {})
