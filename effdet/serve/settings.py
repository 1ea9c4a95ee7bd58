"""Limits of the server."""

from __future__ import annotations

from dataclasses import dataclass

from heads.structures import UserError


@dataclass(frozen=True)
class ServeSettings:
    """What one request may cost, and how many there may be.

    Memory is bounded by `queue` × `max_bytes` for bodies and 2 × `batch_size` × `max_pixels` × 3 bytes for images.
    """

    max_bytes: int = 20_000_000
    """Of a request's body."""
    max_pixels: int = 40_000_000
    """Of an image; read from its header, before anything is decoded."""
    timeout: float = 30.0
    """Seconds for a body to arrive, and again for its answer."""
    queue: int = 32
    """Requests in work or waiting; more are refused at once."""
    batch_size: int = 8
    """Images that go through the model together."""
    wait: float = 0.005
    """Maximum batching delay in seconds: how long a batch that is not full waits for more requests."""
    score_threshold: float = 0.3
    """Boxes below are left out where a request does not say."""

    def __post_init__(self) -> None:
        for key in ("max_bytes", "max_pixels", "queue", "batch_size"):
            if getattr(self, key) < 1:
                raise UserError(f"{key} must be 1 or more, got {getattr(self, key)}")
        if self.timeout <= 0 or self.wait < 0:
            raise UserError(f"timeout must be above 0 and wait 0 or more, got {self.timeout:g} and {self.wait:g}")
        if not 0 <= self.score_threshold <= 1:
            raise UserError(f"score_threshold must lie in 0…1, got {self.score_threshold:g}")
