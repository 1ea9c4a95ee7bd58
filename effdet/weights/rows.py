"""A row of the named weights: one published file, where it is, what it gives, and how its pixels were made."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from effdet import hub
from heads.structures import UserError

Pixels = tuple[tuple[float, float, float], tuple[float, float, float]]
IMAGENET_PIXELS = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
HALF_PIXELS = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
BYTE_PIXELS = ((127 / 255, 127 / 255, 127 / 255), (128 / 255, 128 / 255, 128 / 255))
"""``(x - 127) / 128`` of the Lite models, in units of the 0…1 pixel range."""


@dataclass(frozen=True)
class Published:
    """A result that the owner of the weights states; not measured here."""

    metric: str
    """``AP`` (COCO val2017, in percent) or ``top1`` (ImageNet-1k validation, in percent)."""
    value: float
    source: str
    size: int | None = None
    """Input side that it holds for, where it is not the model's own."""


@dataclass(frozen=True)
class NamedWeights:
    """One published file."""

    name: str
    model: str
    """The architecture, a name that :func:`effdet.model.spec_for` knows; its padding, epsilon and activation hold."""
    layout: str
    """How the file names its tensors: ``effdet``, ``timm``, ``torchvision``, ``lukemelas`` or ``tflite``."""
    file_name: str
    """Its name in the cache, and one of the ways to recognise it."""
    addresses: tuple[str, ...] = ()
    hub_file: hub.HubFile | None = None
    sha256: str | None = None
    """The first digits of the checksum, where the owner publishes them (most put 8 into the file name)."""
    pixels: Pixels = IMAGENET_PIXELS
    """(mean, deviation) per RGB channel, in units of the 0…1 pixel range."""
    resize: str = "center_crop"
    interpolation: str = "bicubic"
    size: int = 224
    crop: float = 1.0
    fill: tuple[int, int, int] = (124, 116, 104)
    aspects: tuple[tuple[float, float], ...] | None = None
    """Anchor width and height factors, where they differ from the architecture's own."""
    classes: str | None = None
    """A key of :func:`effdet.weights.class_tables.class_table`, or None where the owner gives no table."""
    result: Published | None = None
    licence: str = "Apache-2.0"
    default: bool = False
    """The bare name of the architecture means this row."""

    def cached(self) -> Path | None:
        """The file on this machine, without touching the network and without reading it."""
        return hub.cached(self.file_name) or (hub.cached_hub_file(self.hub_file) if self.hub_file else None)

    def verified(self) -> Path | None:
        """The file on this machine if its checksum is right; never touches the network.

        Raises:
            UserError: there is one, and it is another file or a damaged one.
        """
        path = self.cached()
        # The hub's file holds the same tensors in another format, and its client has checked it.
        if path is not None and path.name == self.file_name and not _has_sum(path, self.sha256):
            raise UserError(f"{path} is not {self.name}: its sha256 does not begin with {self.sha256}; delete it")
        return path

    def fetch(self, *, progress: bool = True) -> Path:
        """The file, from the cache or from its owner.

        Raises:
            UserError: it is nowhere, has no public address, or the cached one is damaged.
        """
        if (path := self.verified()) is not None:
            return path
        if self.addresses:
            try:
                return hub.download(self.addresses, file_name=self.file_name, sha256=self.sha256, progress=progress)
            except hub.DownloadError:
                if self.hub_file is None:
                    raise
        if self.hub_file is not None:
            return hub.download_hub_file(self.hub_file)
        raise UserError(f"{self.name} has no address to fetch it from; give the path of {self.file_name} instead")


def _has_sum(path: Path, sha256: str | None) -> bool:
    return sha256 is None or hub.sha256_of(path).startswith(sha256)
