"""``effdet predict``: pictures or a video in; drawings, ``predictions.json`` and ``predictions.csv`` out."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from effdet.cli.config import Config
from effdet.cli.errors import ConfigError
from effdet.cli.heap import keep_freed_memory
from effdet.cli.open_predictor import open_predictor
from effdet.cli.results import RunResult
from effdet.cli.words import Words
from effdet.inference import Predictor
from effdet.inference.jobs import Output, Summary, predict_pictures, predict_video
from effdet.inference.runtime_model import own_postprocess
from effdet.inference.sources import VideoSource, find_pictures, is_video
from effdet.inference.tiles import TiledPredictor, TileSettings
from effdet.inference.tracking import Tracker, TrackerSettings
from heads.structures import UserError

TOLD = 10
"""As many unreadable pictures are named."""
_RESULT_KEYS = (
    "model", "weights", "image_size", "score", "nms_iou", "max_detections", "precision", "batch_size", "predict.tiles",
    "predict.tile_size", "predict.tile_overlap", "predict.track", "predict.alpha", "semantic",
)  # fmt: skip
"""What a picture's results depend on: a run is gone on with only where they are the same."""


def run(config: Config, words: Words) -> RunResult:
    """Predict all of ``source``, batch by batch."""
    video = is_video(config.source)
    _contradictions(config, words, video)
    out = Path(config.out)
    options = config.predict
    output = Output(
        out,
        score=config.score,
        draw=options.draw,
        alpha=options.alpha,
        ids=options.ids,
        settings={key: config.get(key) for key in _RESULT_KEYS},
    )
    if video:
        with VideoSource(config.source) as source:  # before the model: a wrong name is told at once
            predict, classes = _predictor(config)
            patience = max(1, round(options.track_patience * source.rate))
            tracker = _tracker(config, patience) if options.track else None
            summary = predict_video(predict, source, output, classes=classes, tracker=tracker, limit=config.limit)
        _tell(summary, config, classes, "frames")
    else:
        pictures = find_pictures(config.source, leave_out=out)[: config.limit]
        predict, classes = _predictor(config)
        tracker = _tracker(config, round(options.track_patience * 25)) if options.track else None
        summary = predict_pictures(
            predict,
            pictures,
            output,
            classes=classes,
            resume=config.resume == "auto",
            skip_unreadable=config.unreadable == "warn",
            tracker=tracker,
        )
        _tell(summary, config, classes, "pictures")
    print(out)
    return RunResult(out, {"pictures": summary.pictures, "boxes": summary.boxes})


def _predictor(config: Config) -> tuple[Predictor | TiledPredictor, Any]:
    options = config.predict
    lowest = min(config.score, options.track_low) if options.track else config.score
    predict = open_predictor(config, score=lowest)
    if config.device in ("cpu", "auto"):
        keep_freed_memory()
    classes = predict.model.classes.get("detection")  # type: ignore[operator,union-attr]
    if classes is None and (options.track or options.tiles):
        key = "track" if options.track else "tiles"
        maps = (
            "; semantic.sliding=[512,512] with image_size= looks at segmentation maps by windows"
            if options.tiles
            else ""
        )
        raise UserError(f"predict.{key}=true: model={config.model} detects nothing; leave it out{maps}")
    if not options.tiles:
        return predict, classes
    own = own_postprocess(predict.model)
    nms_iou = config.nms_iou if config.nms_iou is not None else 0.5 if own is None else own.nms_iou
    settings = TileSettings(options.tile_size, options.tile_overlap, nms_iou=nms_iou)
    return TiledPredictor(predict, settings), classes


def _tracker(config: Config, patience: int) -> Tracker:
    return Tracker(TrackerSettings.shown_from(config.score, low=config.predict.track_low, patience=patience))


def _contradictions(config: Config, words: Words, video: bool) -> None:
    """Words that would be ignored."""
    options, problems = config.predict, []
    for switch, keys in {"tiles": ("tile_size", "tile_overlap"), "track": ("track_low", "track_patience")}.items():
        for key in keys:
            if words.get(f"predict.{key}") is not None and not getattr(options, switch):
                problems.append(f"predict.{key}: has no effect without predict.{switch}=true")
    if config.resume is not None and (video or options.track):
        what = f"source={config.source}: a video" if video else "predict.track=true: tracking"
        problems.append(f"resume=auto: {what} begins at the first frame; leave resume= out")
    if video and options.ids != "running":
        problems.append(f"predict.ids={options.ids}: the frames of a video have no names; leave it out")
    if words.get("predict.alpha") is not None and not options.draw:
        problems.append("predict.alpha: has no effect with predict.draw=false")
    if problems:
        raise ConfigError(problems)


def _tell(summary: Summary, config: Config, classes: Any, unit: str) -> None:
    if summary.unreadable:
        count = len(summary.unreadable)
        for line in summary.unreadable[:TOLD]:
            print(f"warning: {line}", file=sys.stderr)
        more = f", {TOLD} of them named above" if count > TOLD else ""
        print(f"warning: left out as unreadable: {count} of {count + summary.pictures} {unit}{more}", file=sys.stderr)
    if summary.resumed:
        print(f"{summary.resumed} {unit} were done before")
    if summary.stopped:
        print(f"stopped; what was done is whole: {summary.pictures} {unit}")
    if summary.tracks is not None:
        print(f"{summary.tracks} objects followed through {summary.pictures} {unit}, {summary.boxes} boxes")
    else:
        boxes = "" if classes is None else f"{summary.boxes} boxes of score ≥ {config.score:g} in "
        print(f"{boxes}{summary.pictures} {unit}")
