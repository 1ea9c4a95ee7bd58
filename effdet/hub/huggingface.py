"""Files of the Hugging Face hub, through its own client (the ``hub`` extra), which has its own cache and resume."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from effdet.addresses import without_credentials_in
from effdet.hub.cache import is_offline
from effdet.hub.download import DownloadError
from heads.structures import UserError


@dataclass(frozen=True)
class HubFile:
    """One file of a hub repository."""

    repository: str
    """``owner/name``, for example ``timm/tf_efficientnet_b0.in1k``."""
    file_name: str = "model.safetensors"
    revision: str | None = None

    def __str__(self) -> str:
        return f"{self.repository}/{self.file_name}"


def cached_hub_file(file: HubFile) -> Path | None:
    """The file in the hub client's cache, or None. Never touches the network; None also where the client is missing."""
    try:
        from huggingface_hub import try_to_load_from_cache
    except ImportError:
        return None
    found = try_to_load_from_cache(file.repository, file.file_name, revision=file.revision)
    return Path(found) if isinstance(found, str) else None


def download_hub_file(file: HubFile) -> Path:
    """Fetch the file, or return it from the cache; offline mode reads the cache alone."""
    if (path := cached_hub_file(file)) is not None:
        return path
    if is_offline():
        raise DownloadError(
            f"{file} is not in the Hugging Face cache and EFFDET_OFFLINE is set: unset it to fetch the file"
        )
    try:
        from huggingface_hub import hf_hub_download
    except ImportError:
        raise UserError(f"{file} needs the Hugging Face client: pip install 'effdet-lightning[hub]'") from None
    try:
        return Path(hf_hub_download(file.repository, file.file_name, revision=file.revision))
    except Exception as error:  # the client raises its own and its HTTP library's types, which differ between versions
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise DownloadError(
            f"could not fetch {file} from the Hugging Face hub: {without_credentials_in(reason[0])}"
        ) from error
