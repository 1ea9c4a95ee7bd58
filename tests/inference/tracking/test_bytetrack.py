"""ByteTrack by hand cases, and against the true identities of a generated video, evaluated by py-motmetrics."""

import itertools

import numpy as np
import pytest

from effdet.boxes import iou
from effdet.inference.tracking import Tracker, TrackerSettings
from effdet.inference.tracking.bytetrack import assign
from effdet.streets.film import video
from heads.structures import UserError

BOX = np.array([[10.0, 10, 30, 50]])
CAR = np.zeros(1, np.int64)


def seen(tracker, box=BOX, score=0.9, label=0):
    return tracker.update(box, np.full(len(box), score), np.full(len(box), label)).tolist()


def none(tracker):
    return tracker.update(np.zeros((0, 4)), np.zeros(0), np.zeros(0, np.int64)).tolist()


def test_an_object_keeps_its_number_and_numbers_count_from_1():
    tracker = Tracker()
    assert [seen(tracker, BOX + 2 * step) for step in range(5)] == [[1]] * 5
    tracker.reset()
    assert seen(tracker) == [1]


def test_a_newcomer_is_numbered_at_its_second_sight():
    tracker = Tracker()
    none(tracker)
    assert seen(tracker) == [-1]
    assert seen(tracker) == [1]


def test_a_false_alarm_of_one_frame_gets_no_number():
    tracker = Tracker()
    none(tracker)
    assert seen(tracker) == [-1]
    none(tracker)
    assert seen(tracker, BOX + 200) == [-1] and seen(tracker, BOX + 200) == [2]


def test_weak_detections_continue_a_track_and_start_none():
    tracker = Tracker()
    assert seen(tracker) == [1]
    assert seen(tracker, score=0.2) == [1]
    assert seen(tracker, score=0.05) == [-1]  # under `low`
    tracker.reset()
    assert [seen(tracker, score=0.5) for _ in range(3)] == [[-1]] * 3
    assert seen(tracker, score=0.65) == [-1]  # strong, but under `start`


def test_out_of_sight_for_a_while():
    tracker = Tracker(TrackerSettings(patience=5))
    assert [seen(tracker), seen(tracker)] == [[1], [1]]
    for _ in range(5):
        none(tracker)
    assert seen(tracker) == [1]
    for _ in range(7):
        none(tracker)
    assert seen(tracker) == [-1] and seen(tracker) == [2]


def at(tracker, time, box=BOX):
    return tracker.update(box, np.full(len(box), 0.9), np.zeros(len(box), np.int64), time=time).tolist()


@pytest.mark.parametrize("step", [1 / 25, 1 / 100, 1 / 5])
@pytest.mark.parametrize(("back", "number"), [(2.0, 1), (2.1, -1)])
@pytest.mark.parametrize("looked", [(), (1.2, 1.3, 1.9), tuple(1.05 + n / 100 for n in range(90))])
def test_patience_by_times(step, back, number, looked):
    """Last seen at 1 s, out of sight for one second or more, however many frames there are meanwhile."""
    tracker = Tracker(TrackerSettings(patience=1.0, step=step))
    for count in range(round(1 / step) + 1):
        assert at(tracker, count * step) == [1]
    for time in looked:
        at(tracker, time, np.zeros((0, 4)))
    assert at(tracker, back) == [number]


def test_frames_that_are_far_apart_follow_each_other():
    tracker = Tracker(TrackerSettings(patience=0.1, step=0.5))
    assert [at(tracker, count / 2) for count in range(4)] == [[1]] * 4


def test_a_steady_motion_through_uneven_frames():
    """100 pixels a second: predicted by the clock, an object is met where it is; by frames it would be 80 pixels off."""
    tracker = Tracker(TrackerSettings(step=0.04, patience=2))
    times = [0.04 * count for count in range(20)] + [1.6, 1.64, 1.68, 2.5]
    assert [at(tracker, time, BOX + 100 * time) for time in times] == [[1]] * len(times)


def test_classes_do_not_mix():
    tracker = Tracker()
    assert seen(tracker, label=0) == [1]
    assert seen(tracker, label=1) == [-1] and seen(tracker, label=1) == [2]


def test_two_that_cross_keep_their_numbers():
    tracker = Tracker()
    found = []
    for step in range(21):
        left, right = [10 + 5 * step, 10, 30 + 5 * step, 50], [110 - 5 * step, 14, 130 - 5 * step, 54]
        found.append(tracker.update(np.array([left, right], float), np.array([0.9, 0.8]), np.array([0, 0])).tolist())
    assert found == [[1, 2]] * 21


def test_settings_are_checked():
    with pytest.raises(UserError, match="step must be more than 0 seconds, got 0"):
        TrackerSettings(step=0)
    with pytest.raises(UserError, match="0 ≤ low ≤ high ≤ start ≤ 1, got low=0.5, high=0.3"):
        TrackerSettings(low=0.5, high=0.3)
    assert TrackerSettings.shown_from(0.3) == TrackerSettings(high=0.3, low=0.1, start=0.4)
    assert TrackerSettings.shown_from(0.05).low == 0.05


def evaluated(settings, scenes, *, noisy=True):
    """IDF1 and MOTA (py-motmetrics) of a tracker on what a fair detector would say of `scenes`."""
    motmetrics = pytest.importorskip("motmetrics")
    rng, tracker = np.random.default_rng(0), Tracker(settings)
    account = motmetrics.MOTAccumulator(auto_id=True)
    for scene in scenes:
        boxes, scores, labels = scene.boxes, np.full(len(scene.boxes), 0.9), scene.labels
        if noisy:  # boxes a little off; half hidden things with low scores; misses; a false alarm a frame
            sides = np.tile(boxes[:, 2:] - boxes[:, :2], 2)
            boxes = boxes + rng.normal(0, 0.04, boxes.shape) * sides
            scores = np.clip(0.85 - 0.75 * scene.occlusion + rng.normal(0, 0.12, len(boxes)), 0.05, 1)
            found = rng.random(len(boxes)) > 0.05
            alarm = rng.random((1, 2)) * 150
            boxes = np.concatenate([boxes[found], np.concatenate([alarm, alarm + 20], 1)])
            scores = np.append(scores[found], rng.uniform(0.1, 0.5))
            labels = np.append(labels[found], 26)
        tracks = tracker.update(boxes, scores, labels)
        distances = 1 - iou(scene.boxes[:, None], boxes[tracks >= 0])
        account.update(scene.instances, tracks[tracks >= 0], np.where(distances <= 0.5, distances, np.nan))
    found = motmetrics.metrics.create().compute(account, metrics=["idf1", "mota"], name="video")
    return float(found["idf1"].iloc[0]), float(found["mota"].iloc[0])


@pytest.mark.peer
def test_identities_of_a_generated_video():
    calm, crowded = list(video(2, 40, 192)), list(video(3, 40, 192))
    settings = TrackerSettings.shown_from(0.4)
    assert min(evaluated(settings, calm, noisy=False)) > 0.95
    idf1, mota = evaluated(settings, calm)
    assert idf1 > 0.92 and mota > 0.88
    # The paper's point: without the second association, weak detections thrown away, it is worse where things hide.
    with_weak, without = evaluated(settings, crowded), evaluated(TrackerSettings.shown_from(0.4, low=0.4), crowded)
    assert with_weak[0] > without[0] and with_weak[1] > without[1]


def test_assignment_is_the_cheapest_of_all():
    rng = np.random.default_rng(0)
    for _ in range(20):
        costs = rng.random((4, 5))
        pairs, lost, unclaimed = assign(costs, 1.0)
        best = min(sum(costs[row, column] for row, column in enumerate(c)) for c in itertools.permutations(range(5), 4))
        assert costs[pairs[:, 0], pairs[:, 1]].sum() == pytest.approx(best)
        assert len(lost) == 0 and len(unclaimed) == 1


def test_the_max_images_rules_pairs_out():
    pairs, lost, unclaimed = assign(np.array([[0.2, 0.9], [0.9, 0.8]]), 0.5)
    assert pairs.tolist() == [[0, 0]] and lost.tolist() == [1] and unclaimed.tolist() == [1]


@pytest.mark.parametrize("shape", [(0, 0), (0, 3), (2, 0)])
def test_nothing_to_assign(shape):
    pairs, lost, unclaimed = assign(np.zeros(shape), 1.0)
    assert pairs.shape == (0, 2) and len(lost) == shape[0] and len(unclaimed) == shape[1]
