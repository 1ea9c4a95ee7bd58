"""Data sets in tar shards, for those larger than the disk: written once from any set, read image by image."""

from effdet.data.shards.read import ShardDataset, open_shards
from effdet.data.shards.write import write_shards

__all__ = ["ShardDataset", "open_shards", "write_shards"]
