"""Fetching named files: cache folder, resumable checked downloads, mirrors, offline mode."""

from effdet.hub.cache import cache_dir, cached, is_offline, mirrors, sha256_of
from effdet.hub.download import DownloadError, below, download
from effdet.hub.huggingface import HubFile, cached_hub_file, download_hub_file

__all__ = [
    "DownloadError",
    "HubFile",
    "below",
    "cache_dir",
    "cached",
    "cached_hub_file",
    "download",
    "download_hub_file",
    "is_offline",
    "mirrors",
    "sha256_of",
]
