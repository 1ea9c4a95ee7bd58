"""ByteTrack: objects keep their number from frame to frame, weak detections included.

Zhang et al. 2022, "ByteTrack: Multi-Object Tracking by Associating Every Detection Box", algorithm 1. Strong detections
are matched with all tracks first; the tracks left over are then offered the weak ones, which are often the same objects,
half hidden. Only strong detections start tracks.

Where we deviate: a track goes on only with detections of its own class; the box that is reported is the detector's own,
not the filter's, so that it agrees with the untracked results; tracks that come to lie on each other are both kept.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import linear_sum_assignment

from effdet.boxes import iou
from effdet.inference.tracking import kalman
from heads.structures import UserError

_ROUNDING = 1e-6
"""Seconds that sums of times may be off."""
_FORBIDDEN = 1e4
"""Cost of a pair that must not be: far above any sum of real costs, and still finite, as the solver wants it."""


@dataclass(frozen=True)
class TrackerSettings:
    """Scores 0…1, costs 1 - IoU. Defaults are the paper's."""

    high: float = 0.6
    """Detections of this score and above are matched first."""
    low: float = 0.1
    """Those from here to `high` are matched second; weaker ones are ignored."""
    start: float = 0.7
    """A detection that no track wants starts one from this score on."""
    match: float = 0.8
    """Largest cost (1 - IoU × score) of a match with a strong detection."""
    match_weak: float = 0.5
    """Largest cost (1 - IoU) of a match with a weak detection."""
    match_new: float = 0.7
    """Largest cost of the second sight of a track that was seen once."""
    patience: float = 30
    """How long a track may be out of sight: in seconds where `step` is given, else in frames."""
    step: float | None = None
    """Usual seconds from frame to frame, for which the filter's noise is the paper's; None takes frames for evenly spaced."""

    def __post_init__(self) -> None:
        if not 0 <= self.low <= self.high <= self.start <= 1:
            raise UserError(
                f"tracking needs 0 ≤ low ≤ high ≤ start ≤ 1, got low={self.low:g}, high={self.high:g}, start={self.start:g}"
            )
        if self.patience < 0:
            raise UserError(f"patience must be 0 or more, got {self.patience:g}")
        if self.step is not None and not self.step > 0:
            raise UserError(f"step must be more than 0 seconds, got {self.step:g}")

    @classmethod
    def shown_from(
        cls, score: float, *, low: float = 0.1, patience: float = 30, step: float | None = None
    ) -> TrackerSettings:
        """Settings for a detector whose detections count from `score` on, as the paper spaces them (start = high + 0.1)."""
        return cls(high=score, low=min(low, score), start=min(score + 0.1, 1.0), patience=patience, step=step)


@dataclass(frozen=True)
class _Tracks:
    """All living tracks, one row each."""

    ids: np.ndarray
    """(T,) int64, from 1."""
    labels: np.ndarray
    """(T,) int64."""
    means: np.ndarray
    """(T, 8) float64."""
    covariances: np.ndarray
    """(T, 8, 8) float64."""
    seen: np.ndarray
    """(T,) int64 frame of the last sight."""
    time: np.ndarray
    """(T,) float64 time of the last sight."""
    confirmed: np.ndarray
    """(T,) bool: seen in two successive frames, or from the first frame on."""

    @classmethod
    def none(cls) -> _Tracks:
        flat = np.zeros(0, np.int64)
        return cls(flat, flat, np.zeros((0, 8)), np.zeros((0, 8, 8)), flat, flat.astype(float), flat.astype(bool))

    def __len__(self) -> int:
        return len(self.ids)

    def rows(self, keep: np.ndarray) -> _Tracks:
        return _Tracks(*(getattr(self, name)[keep] for name in self.__dataclass_fields__))

    def joined(self, other: _Tracks) -> _Tracks:
        return _Tracks(
            *(np.concatenate([getattr(self, name), getattr(other, name)]) for name in self.__dataclass_fields__)
        )


class Tracker:
    """Numbers the objects of one video. Frames must come in order; `reset` before another video.

    Args:
        settings: thresholds and patience.
    """

    def __init__(self, settings: TrackerSettings | None = None) -> None:
        self.settings = settings or TrackerSettings()
        self.reset()

    def reset(self) -> None:
        """Clear all tracks; numbers begin at 1 again."""
        self._tracks, self._frame, self._next = _Tracks.none(), 0, 1
        self._now: float | None = None

    def update(
        self, boxes: np.ndarray, scores: np.ndarray, labels: np.ndarray, *, time: float | None = None
    ) -> np.ndarray:
        """Number the detections of the next frame.

        Args:
            boxes: (N, 4) xyxy, pixels of the frame.
            scores: (N,) 0…1; hand over the weak ones too, from `settings.low`.
            labels: (N,) int64 class.
            time: of the frame, in seconds, later than the one before; None: one `step` later. Not used without a `step`.

        Returns:
            (N,) int64 track of each detection; -1 for those that belong to none, or to one not confirmed yet.
        """
        settings = self.settings
        boxes = np.asarray(boxes, np.float64).reshape(-1, 4)
        self._frame += 1
        before = self._now
        step = settings.step or 1.0
        if time is None or settings.step is None:
            time = 0.0 if before is None else before + step
        self._now = time
        steps = 1.0 if before is None else max((time - before) / step, 0.0)
        if settings.step is not None:  # a gap in the frames may be longer than anything is waited for
            longest = max(settings.patience, 2 * step) + _ROUNDING
            self._tracks = self._tracks.rows(time - self._tracks.time <= longest)
        self._tracks = self._moved(self._tracks, steps)
        strong = np.flatnonzero(scores >= settings.high)
        weak = np.flatnonzero((scores >= settings.low) & (scores < settings.high))

        rows = np.full(len(boxes), -1, np.int64)  # of the track of each detection
        confirmed = np.flatnonzero(self._tracks.confirmed)
        left, unclaimed = self._match(rows, confirmed, strong, boxes, labels, settings.match, scores)
        just_seen = left[self._tracks.seen[left] == self._frame - 1]  # a track out of sight comes back by a strong one
        self._match(rows, just_seen, weak, boxes, labels, settings.match_weak)
        new = np.flatnonzero(~self._tracks.confirmed)
        _, unclaimed = self._match(rows, new, unclaimed, boxes, labels, settings.match_new, scores)

        self._correct(rows, boxes)
        starting = unclaimed[scores[unclaimed] >= settings.start]
        rows[starting] = len(self._tracks) + np.arange(len(starting))
        self._begin(boxes[starting], np.asarray(labels)[starting])
        tracks = self._tracks
        found = np.where(np.append(tracks.confirmed, False)[rows], np.append(tracks.ids, -1)[rows], -1)  # row -1: none
        # A track that was not seen again at once was a false alarm; others are waited for.
        waited = time - tracks.time <= settings.patience + _ROUNDING
        self._tracks = tracks.rows(np.where(tracks.confirmed, waited, tracks.seen == self._frame))
        return found

    def _moved(self, tracks: _Tracks, steps: float) -> _Tracks:
        """Every track `steps` on; what is out of sight keeps its height, which nothing corrects."""
        means = tracks.means.copy()
        means[tracks.seen < self._frame - 1, 7] = 0
        means, covariances = kalman.predict(means, tracks.covariances, steps)
        return replace(tracks, means=means, covariances=covariances)

    def _match(
        self,
        rows: np.ndarray,
        tracks: np.ndarray,
        detections: np.ndarray,
        boxes: np.ndarray,
        labels: np.ndarray,
        limit: float,
        scores: np.ndarray | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Write the matches into `rows`; give the tracks and the detections left over."""
        overlap = iou(kalman.to_boxes(self._tracks.means[tracks])[:, None], boxes[detections])
        costs = 1 - (overlap if scores is None else overlap * scores[detections])
        costs[self._tracks.labels[tracks][:, None] != np.asarray(labels)[detections][None, :]] = _FORBIDDEN
        costs[overlap <= 0] = _FORBIDDEN
        pairs, lost, unclaimed = assign(costs, limit)
        rows[detections[pairs[:, 1]]] = tracks[pairs[:, 0]]
        return tracks[lost], detections[unclaimed]

    def _correct(self, rows: np.ndarray, boxes: np.ndarray) -> None:
        """Correct the matched tracks by their detections."""
        found = np.flatnonzero(rows >= 0)
        at, tracks = rows[found], self._tracks
        means, covariances = tracks.means.copy(), tracks.covariances.copy()
        means[at], covariances[at] = kalman.update(means[at], covariances[at], boxes[found])
        seen, time, confirmed = tracks.seen.copy(), tracks.time.copy(), tracks.confirmed.copy()
        seen[at], time[at], confirmed[at] = self._frame, self._now, True
        self._tracks = replace(tracks, means=means, covariances=covariances, seen=seen, time=time, confirmed=confirmed)

    def _begin(self, boxes: np.ndarray, labels: np.ndarray) -> None:
        count = len(boxes)
        means, covariances = kalman.start(boxes)
        ids = self._next + np.arange(count, dtype=np.int64)
        self._next += count
        first = np.full(count, self._frame == 1)
        seen, time = np.full(count, self._frame, np.int64), np.full(count, self._now, np.float64)
        new = _Tracks(ids, labels.astype(np.int64), means, covariances, seen, time, first)
        self._tracks = self._tracks.joined(new)


def assign(costs: np.ndarray, limit: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The pairs of least total cost, none of which costs more than `limit`.

    Args:
        costs: (N, M) float; rows are tracks, columns detections.
        limit: largest cost of a pair.

    Returns:
        (P, 2) int64 pairs (row, column) by rising row; rows without a pair; columns without a pair.
    """
    costs = np.asarray(costs, np.float64)
    allowed = np.where(costs <= limit, costs, _FORBIDDEN)
    rows, columns = linear_sum_assignment(allowed)
    kept = allowed[rows, columns] < _FORBIDDEN
    pairs = np.stack([rows[kept], columns[kept]], axis=1).astype(np.int64)
    return (
        pairs,
        np.setdiff1d(np.arange(costs.shape[0]), pairs[:, 0]),
        np.setdiff1d(np.arange(costs.shape[1]), pairs[:, 1]),
    )
