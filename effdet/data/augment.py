"""What augmentation does, as numbers; :mod:`effdet.data.train_set` does it.

The presets ``none``, ``light``, ``default`` and ``strong`` are the files of ``conf/augment``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

from backbones.fields import build
from effdet.data.checks import DataError
from effdet.plugins import TARGET, is_target
from heads.fields import check_fields


@dataclass(frozen=True)
class AugmentSpec:
    """Every random change that a training sample may undergo. The defaults change nothing.

    "Canvas" is the network's input; scales count from the size that evaluation would give the image on it.
    """

    name: str = "none"
    """What the run's folder calls it."""
    hflip: Annotated[float, "0..1"] = 0.0
    """Probability of a mirror image."""
    scale: tuple[Annotated[float, "0.001..1000"], Annotated[float, "0.001..1000"]] | None = None
    """Range of the random size; above 1 a random crop of the canvas's size is kept, below 1 the image lies at a random
    place on the canvas. null uses the evaluation geometry."""
    aspect: tuple[Annotated[float, "0.01..100"], Annotated[float, "0.01..100"]] = (1.0, 1.0)
    """Range of a random stretch of width against height; needs `scale` or `area`."""
    area: tuple[Annotated[float, "0.001..1"], Annotated[float, "0.001..1"]] | None = None
    """Classification: range of the share of the image that a random crop keeps, stretched over the whole canvas
    (Szegedy et al. 2015). Excludes `scale`."""
    class_crop: Annotated[float, "0..1"] = 0.0
    """Masks: probability that the crop of `scale` or `area` is laid around a pixel of a class that is drawn among the
    image's classes, the rarer in the set the likelier (as 1 / √ of its share of pixels)."""
    colour: Annotated[float, "0..1"] = 0.0
    """Probability of a colour jitter by `brightness`, `contrast`, `saturation` and `hue`."""
    brightness: Annotated[float, "0..1"] = 0.0
    """Factor drawn from 1 - x … 1 + x."""
    contrast: Annotated[float, "0..1"] = 0.0
    """As `brightness`, for contrast."""
    saturation: Annotated[float, "0..1"] = 0.0
    """As `brightness`, for saturation."""
    hue: Annotated[float, "0..0.5"] = 0.0
    """Hue rotation drawn from -x … x; 0.5 is half a circle."""
    grayscale: Annotated[float, "0..1"] = 0.0
    """Probability of a grey image."""
    blur: Annotated[float, "0..1"] = 0.0
    """Probability of a Gaussian blur, sigma up to `blur_sigma` pixels."""
    blur_sigma: Annotated[float, "0..100"] = 1.5
    """Largest sigma of the blur, input pixels."""
    noise: Annotated[float, "0..1"] = 0.0
    """Probability of Gaussian noise, deviation up to `noise_std` of the 0…1 range."""
    noise_std: Annotated[float, "0..1"] = 0.05
    """Largest deviation of the noise, of the 0…1 range."""
    erase: Annotated[float, "0..1"] = 0.0
    """Probability of random erasing (Zhong et al. 2017)."""
    erase_area: tuple[Annotated[float, "0.0001..1"], Annotated[float, "0.0001..1"]] = (0.02, 0.1)
    """Range of the share of the canvas that is erased."""
    mosaic: Annotated[float, "0..1"] = 0.0
    """Probability that four images share the canvas (Bochkovskiy et al. 2020)."""
    mosaic_scale: tuple[Annotated[float, "0.001..1000"], Annotated[float, "0.001..1000"]] = (0.4, 1.0)
    """Range of the size of each of the four, counted as `scale`."""
    partners: Literal["set", "batch"] = "set"
    """Where the other images of mosaic and mixup come from: anywhere in the set, at the cost of decoding each, or the
    sample's own batch, whose images are decoded once."""
    mosaic_off_epochs: Annotated[int, "0.."] = 0
    """The last N epochs have no mosaic, no mixup of boxes and no pasted objects, so that training ends on unmixed images."""
    closing_scale: tuple[Annotated[float, "0.001..1000"], Annotated[float, "0.001..1000"]] | None = None
    """Range of the random size in the epochs of `mosaic_off_epochs`, narrower than `scale`; null keeps that."""
    copy_paste: Annotated[float, "0..1"] = 0.0
    """Probability that objects of another image are pasted by their masks (Ghiasi et al. 2021); boxes below are cut, and
    dropped where less than `min_visibility` of them is left."""
    copy_paste_classes: Literal["rare"] | tuple[str, ...] | None = None
    """Names of the classes that are pasted; rare takes those on fewer images than a third of the mean; null takes all. Each
    is drawn as often as the others."""
    multi_scale: tuple[Annotated[float, "0.1..10"], Annotated[float, "0.1..10"]] | None = None
    """Range of the canvas, counted as a share of the input's size: each step trains on one of up to 5 sizes in it, multiples
    of 32 pixels; evaluation keeps the input's. null trains on that too."""
    min_visibility: Annotated[float, "0..1"] = 0.1
    """A box is dropped where less than this share of it is left on the canvas."""
    min_box_size: Annotated[float, "0.."] = 1.0
    """A box with a side below this many input pixels is dropped after a random crop or mosaic."""

    shift: Annotated[float, "0..0.5"] = 0.0
    """Classification: the image is moved by up to this share of the canvas along each axis, which is a random crop
    after padding (0.125 is CIFAR's 4 of 32 pixels). Excludes `scale` and `area`."""
    policy: Literal["randaugment", "autoaugment", "autoaugment_cifar10", "trivialaugment"] | None = None
    """Classification: a published augmentation policy."""
    policy_ops: Annotated[int, "1..16"] = 2
    """randaugment: operations on one image."""
    policy_magnitude: Annotated[float, "0..30"] = 9
    """randaugment: strength of each, 0…30."""
    mixup: Annotated[float, "0..1000"] = 0.0
    """Alpha of mixup's Beta distribution (Zhang et al. 2017): two images become one, with the boxes of both (usual: 32, near
    to an average) or their classes by their shares (usual: 0.2); 0 is off. Not with segmentation maps."""
    cutmix: Annotated[float, "0..1000"] = 0.0
    """Classification: alpha of cutmix's Beta distribution (Yun et al. 2019); 0 is off."""
    mix: Annotated[float, "0..1"] = 1.0
    """Probability that a batch is mixed, by `mixup` or `cutmix` where both are on; with boxes, that a sample is."""
    transforms: Sequence[Mapping[str, Any]] | None = None
    """Albumentations transforms, [{_target_: albumentations.RandomRain, p: 0.2}], applied to boxes and masks too, after
    all others but `erase`."""

    def __post_init__(self) -> None:
        check_fields(self, "augment.", DataError)
        for transform in self.transforms or ():
            if not is_target(transform):
                raise DataError(f"augment.transforms: {transform} needs a {TARGET}, such as albumentations.RandomRain")
        for field in ("scale", "aspect", "area", "erase_area", "mosaic_scale", "closing_scale", "multi_scale"):
            if (pair := getattr(self, field)) is None:
                continue
            if pair[0] > pair[1]:
                raise DataError(f"augment.{field}={list(pair)} must be two numbers [low, high] with low ≤ high")
            object.__setattr__(self, field, (float(pair[0]), float(pair[1])))
        if self.copy_paste_classes is not None and not isinstance(self.copy_paste_classes, str):
            object.__setattr__(self, "copy_paste_classes", tuple(str(name) for name in self.copy_paste_classes))
        if self.area is not None and (self.scale is not None or self.mosaic > 0):
            raise DataError("augment.area excludes augment.scale and augment.mosaic: set those to null and 0")
        if self.closing_scale is not None and (self.scale is None or self.mosaic_off_epochs == 0):
            raise DataError(
                f"augment.closing_scale={list(self.closing_scale)} would do nothing: it replaces augment.scale in the last "
                "augment.mosaic_off_epochs; set both"
            )
        if self.class_crop > 0 and not self.moves:
            raise DataError(
                f"augment.class_crop={self.class_crop} would do nothing: set augment.scale or augment.area too"
            )
        if self.shift and self.moves:
            raise DataError("augment.shift excludes augment.scale and augment.area: set those to null, or shift to 0")
        if self.aspect != (1.0, 1.0) and self.scale is None and self.area is None:
            raise DataError(f"augment.aspect={self.aspect} would do nothing: set augment.scale or augment.area too")

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The spec of a configuration group; an unknown key is an error."""
        return build(cls, values, what="augment", error=DataError)

    @property
    def moves(self) -> bool:
        """Whether boxes may come to lie elsewhere than evaluation's geometry puts them (mirrors aside)."""
        return self.scale is not None or self.area is not None

    @property
    def whole_images_only(self) -> str | None:
        """The first setting that is on and that boxes and segmentation maps could not follow."""
        chosen = {"policy": self.policy, "shift": self.shift, "cutmix": self.cutmix}
        return next((name for name, value in chosen.items() if value), None)
