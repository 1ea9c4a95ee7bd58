"""What a head contributes to ``report.html``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from effdet.html import Section
from effdet.report.gallery import Gallery
from effdet.report.statistics import Interval, Statistic


class HeadReport(Protocol):
    """What one head's evaluator found, ready to be written down."""

    headline: tuple[tuple[str, str], ...]
    """(metric, name) of the key figures at the top of the page."""

    @property
    def statistic(self) -> Statistic:
        """Its metrics as a function of how often each image counts."""
        ...

    @property
    def images(self) -> list[str]:
        """Names of the images, in the order of `statistic`: those of two evaluations must agree to compare them."""
        ...

    def sections(
        self, metrics: Mapping[str, Any], intervals: Mapping[str, Interval], gallery: Gallery | None
    ) -> list[Section]:
        """Its part of the page; no images without a `gallery`."""
        ...
