"""Data sets in tar shards, for those that fit on no disk: written once from any set, read picture by picture."""

from effdet.data.shards.read import ShardSource, open_shards
from effdet.data.shards.write import write_shards

__all__ = ["ShardSource", "open_shards", "write_shards"]
