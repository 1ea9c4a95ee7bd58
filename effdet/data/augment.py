"""What augmentation does, as numbers; :mod:`effdet.data.train_set` does it.

The presets ``none``, ``light``, ``default`` and ``strong`` are the files of ``conf/augment``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

from backbones.fields import build
from effdet.data.checks import DataError
from effdet.plugins import TARGET, is_target

PROBABILITIES = (
    "hflip",
    "class_crop",
    "colour",
    "grayscale",
    "blur",
    "noise",
    "erase",
    "mosaic",
    "min_visibility",
    "mix",
)
STRENGTHS = ("brightness", "contrast", "saturation")
POLICIES = ("randaugment", "autoaugment", "autoaugment_cifar10", "trivialaugment")
MAX_MAGNITUDE = 30


def _finite(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _pair(value: Any) -> bool:
    """Whether `value` is two finite numbers."""
    return isinstance(value, Sequence) and len(value) == 2 and all(map(_finite, value))


@dataclass(frozen=True)
class AugmentSpec:
    """Every random change that a training sample may undergo. The defaults change nothing.

    "Canvas" is the network's input; scales count from the size that evaluation would give the picture on it.
    """

    name: str = "none"
    hflip: float = 0.0
    """Probability of a mirror image."""
    scale: tuple[float, float] | None = None
    """Range of the random size; above 1 a random crop of the canvas's size is kept, below 1 the picture lies at a
    random place on the canvas. Null: exactly evaluation's geometry."""
    aspect: tuple[float, float] = (1.0, 1.0)
    """Range of a random stretch of width against height; needs `scale` or `area`."""
    area: tuple[float, float] | None = None
    """Classification: range of the share of the picture that a random crop keeps, stretched over the whole canvas
    (Szegedy et al. 2015). Excludes `scale`."""
    class_crop: float = 0.0
    """Masks: probability that the crop of `scale` or `area` is laid around a pixel of a class that is drawn among the
    picture's classes, the rarer in the set the likelier (as 1 / √ of its share of pixels)."""
    colour: float = 0.0
    """Probability of a colour jitter by the next four strengths."""
    brightness: float = 0.0
    """Factor drawn from 1 - x … 1 + x; likewise contrast and saturation."""
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0
    """Turn of the colour circle drawn from -x … x, at most 0.5, half a circle."""
    grayscale: float = 0.0
    """Probability of a grey picture."""
    blur: float = 0.0
    """Probability of a Gaussian blur, sigma up to `blur_sigma` pixels."""
    blur_sigma: float = 1.5
    noise: float = 0.0
    """Probability of Gaussian noise, deviation up to `noise_std` of the 0…1 range."""
    noise_std: float = 0.05
    erase: float = 0.0
    """Probability of random erasing (Zhong et al. 2017)."""
    erase_area: tuple[float, float] = (0.02, 0.1)
    """Range of the share of the canvas that is erased."""
    mosaic: float = 0.0
    """Probability that four pictures share the canvas (Bochkovskiy et al. 2020); each costs a picture's decoding."""
    mosaic_scale: tuple[float, float] = (0.4, 1.0)
    """Range of the size of each of the four, counted as `scale`."""
    mosaic_off_epochs: int = 0
    """The last epochs see no mosaic, so that training ends on pictures as they are."""
    min_visibility: float = 0.1
    """A box of which a smaller share is left on the canvas is dropped."""
    min_box_size: float = 1.0
    """A box with a side below so many input pixels is dropped after a random crop or mosaic."""

    shift: float = 0.0
    """Classification: the picture is moved by up to this share of the canvas along each axis, which is a random crop
    after padding (0.125 is CIFAR's 4 of 32 pixels). Excludes `scale` and `area`."""
    policy: str | None = None
    """Classification: one of :data:`POLICIES` (:mod:`effdet.data.policies`)."""
    policy_ops: int = 2
    """randaugment: operations on one picture."""
    policy_magnitude: float = 9
    """randaugment: strength of each, 0…30."""
    mixup: float = 0.0
    """Classification: alpha of mixup's Beta distribution (Zhang et al. 2017); 0 is off."""
    cutmix: float = 0.0
    """Classification: alpha of cutmix's Beta distribution (Yun et al. 2019); 0 is off."""
    mix: float = 1.0
    """Probability that a batch is mixed, by either where both are on."""
    transforms: Sequence[Mapping[str, Any]] | None = None
    """Albumentations transforms of the user's own (:mod:`effdet.data.transforms`), after all others but `erase`."""

    def __post_init__(self) -> None:
        for transform in self.transforms or ():
            if not is_target(transform):
                raise DataError(f"augment.transforms: {transform} needs a {TARGET}, such as albumentations.RandomRain")
        for field in ("scale", "aspect", "area", "erase_area", "mosaic_scale"):
            pair = getattr(self, field)
            if pair is None and field in ("scale", "area"):
                continue
            if pair is None or not _pair(pair) or not 0 < pair[0] <= pair[1]:
                raise DataError(f"augment.{field}={pair} must be two numbers [low, high] with 0 < low ≤ high")
            object.__setattr__(self, field, (float(pair[0]), float(pair[1])))
        for field in (item.name for item in fields(self) if item.type in ("float", "int")):
            if not _finite(getattr(self, field)):
                raise DataError(f"augment.{field}={getattr(self, field)} must be a finite number")
        for field in PROBABILITIES:
            if not 0 <= getattr(self, field) <= 1:
                raise DataError(f"augment.{field}={getattr(self, field)} must lie between 0 and 1")
        for field in STRENGTHS:
            if not 0 <= getattr(self, field) <= 1:
                raise DataError(f"augment.{field}={getattr(self, field)} must lie between 0 and 1 (0 changes nothing)")
        if not 0 <= self.hue <= 0.5:
            raise DataError(f"augment.hue={self.hue} must lie between 0 and 0.5 (half the colour circle)")
        if self.noise_std > 1:
            raise DataError(f"augment.noise_std={self.noise_std} is a share of the range of a pixel, at most 1")
        for field in ("blur_sigma", "noise_std", "mosaic_off_epochs", "min_box_size", "mixup", "cutmix"):
            if getattr(self, field) < 0:
                raise DataError(f"augment.{field}={getattr(self, field)} must not be negative")
        if (self.area is not None and self.area[1] > 1) or self.erase_area[1] > 1:
            raise DataError(f"augment.area={self.area} and augment.erase_area={self.erase_area} are shares, at most 1")
        if self.area is not None and (self.scale is not None or self.mosaic > 0):
            raise DataError("augment.area excludes augment.scale and augment.mosaic: set those to null and 0")
        if self.class_crop > 0 and not self.moves:
            raise DataError(
                f"augment.class_crop={self.class_crop} would do nothing: set augment.scale or augment.area too"
            )
        if not 0 <= self.shift <= 0.5:
            raise DataError(f"augment.shift={self.shift} is a share of the canvas, from 0 to 0.5")
        if self.shift and self.moves:
            raise DataError("augment.shift excludes augment.scale and augment.area: set those to null, or shift to 0")
        if self.policy is not None and self.policy not in POLICIES:
            raise DataError(f"augment.policy={self.policy!r} is unknown; use one of {', '.join(POLICIES)}, or null")
        if self.policy_ops < 1 or not 0 <= self.policy_magnitude <= MAX_MAGNITUDE:
            raise DataError(
                f"augment.policy_ops={self.policy_ops} must be at least 1, and augment.policy_magnitude="
                f"{self.policy_magnitude} lie between 0 and {MAX_MAGNITUDE}"
            )
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
    def whole_pictures_only(self) -> str | None:
        """The first setting that is on and that boxes and class maps could not follow."""
        chosen = {"policy": self.policy, "shift": self.shift, "mixup": self.mixup, "cutmix": self.cutmix}
        return next((name for name, value in chosen.items() if value), None)
