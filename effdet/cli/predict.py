"""``effdet predict``: drawings and tables of what a model finds; ``effdet explain``: what in an image it looks at."""

from __future__ import annotations

import re
import signal
import sys
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

from effdet.addresses import is_address
from effdet.cli.config import Config
from effdet.cli.models import InferenceKeys, OpenModel, open_network, open_predictor, torch_device
from effdet.cli.overrides import ConfigError, Overrides
from effdet.cli.run import RunResult, keep_freed_memory
from effdet.files import distinct_names, refuse_overwriting, replacing
from effdet.inference import Predictor
from effdet.inference.explain import explain
from effdet.inference.fusion import fusion_page, fusion_shares
from effdet.inference.jobs import Job, Summary, predict_images, predict_video, predict_videos
from effdet.inference.jobs.stopping import Incomplete, Stopped
from effdet.inference.jobs.video import refuse_drawings
from effdet.inference.runtime_model import own_postprocess
from effdet.inference.sources import Inputs, VideoSource, find_images, find_inputs, is_video
from effdet.inference.sources.inputs import is_camera
from effdet.inference.tiles import TiledPredictor, TileSettings
from effdet.inference.tracking import Tracker, TrackerSettings
from effdet.plurals import counted
from heads.structures import ClassTable, UserError


@dataclass(frozen=True, kw_only=True)
class PredictKeys:
    """What is made of predictions."""

    draw: bool
    """false writes no annotated images or video, only the tables."""
    alpha: Annotated[float, "0..1"]
    """How much of a segmentation map's colour covers the image."""
    ids: Literal["running", "name"]
    """Image ids count from 1, and predictions.json lists the images; or they are the numbers in the file names
    (COCO's sets), and predictions.json is the bare list that pycocotools' loadRes takes."""
    tiles: bool
    """true also predicts on overlapping tiles: finds smaller objects in large images, at the cost of one pass per tile."""
    tile_size: Annotated[int, "32.."] | None
    """Side of a tile in pixels; null is the network's input, so that nothing is downscaled."""
    tile_overlap: Annotated[float, "0..0.9"]
    """Share of a tile that overlaps its neighbour."""
    track: bool
    """true numbers objects through a video (or a folder of its frames), draws their trails, and writes the MOTChallenge
    format."""
    track_low: Annotated[float, "0..1"]
    """Detections from this score on may continue a track, but not start one."""
    track_patience: Annotated[float, "0.."]
    """Seconds that an object may be out of sight and keep its number; by the frames' own times, 25 a second for a
    folder of images."""
    every: Annotated[int, "1.."]
    """Only every n-th frame of a video; the drawn video has those, at their times."""
    reconnect: Annotated[float, "0.."]
    """Seconds for which a lost camera or stream is reopened; 0 ends the run with exit code 1."""


@dataclass(frozen=True, kw_only=True)
class Predict(InferenceKeys):
    """Keys of `effdet predict`."""

    source: Path | None
    """An image or a video, a folder of them, a pattern such as FOLDER/*.jpg, a list (.txt, one path a line), a camera
    (0, 1, …) or a stream (rtsp://…, https://…); must be given."""
    out: Path
    """Folder for the results; those of other sources with the same settings are kept, and the tables hold all of them."""
    resume: Literal["auto"] | None
    """auto resumes an interrupted run to the same out; an unfinished video starts again."""
    overwrite: bool
    """true replaces results of other settings that out holds."""
    unreadable: Literal["warn", "error"]
    """An image, video or frame that cannot be read is named, counted and left out, or ends the run."""
    max_images: Annotated[int, "1.."] | None
    """Only the first N images, and frames of each video."""
    batch_size: Annotated[int, "1.."]
    """Images at once."""
    score_threshold: Annotated[float, "0..1"]
    """Detections with lower scores are not shown; a lower value finds more, and more false ones."""
    max_detections: Annotated[int, "1.."] | None
    """Detections per image, also with tiles; null is the model's own."""
    predict: PredictKeys


@dataclass(frozen=True, kw_only=True)
class Explain(OpenModel):
    """Keys of `effdet explain`."""

    source: Path | None
    """An image, a folder of images, or a pattern such as FOLDER/*.jpg; null explains only the neck."""
    out: Path
    """Folder for what is written."""
    max_images: Annotated[int, "1.."] | None
    """Only the first N images."""
    head: str | None
    """Explain this head; null takes each that the model has."""
    layer: str | None
    """Features to look at, C1 to C5 or a level of the neck; null is C5, for boxes the level that found them."""
    method: Literal["grad", "hires"] | None
    """Grad-CAM, or HiResCAM, which keeps the gradient where it is; null is hires for boxes, grad for all else."""
    most: Annotated[int, "1.."]
    """Targets to explain per image: its best boxes, its largest or likeliest classes."""
    score_threshold: Annotated[float, "0..1"]
    """Boxes with lower scores are not explained."""
    device: Literal["auto", "cpu", "cuda", "mps"]
    """Where to compute; auto takes the best there is."""


REPORTED = 10
"""As many unreadable images or frames are named."""
FRAMES_PER_SECOND = 25
"""Of a folder of images that are the frames of a video, which has no times."""
_RESULT_KEYS = (
    "model", "weights", "image_size", "score_threshold", "nms_iou", "max_detections", "precision", "batch_size",
    "predict.tiles", "predict.tile_size", "predict.tile_overlap", "predict.track", "predict.alpha", "predict.ids",
    "predict.every", "semantic",
)  # fmt: skip
"""What an image's results depend on: a run is gone on with only where they are the same."""


def run_predict(config: Config, overrides: Overrides) -> RunResult:
    """Predict all of ``source``, batch by batch."""
    out, options = Path(config.out), config.predict
    single = is_video(config.source)
    inputs = Inputs([], []) if single else find_inputs(config.source, leave_out=out)
    _contradictions(config, overrides, images=bool(inputs.images), videos=single or bool(inputs.videos))
    job = Job(
        out,
        score_threshold=config.score_threshold,
        draw=options.draw,
        alpha=options.alpha,
        ids=options.ids,
        settings={key: config.get(key) for key in _RESULT_KEYS},
        overwrite=config.overwrite,
        resume=config.resume == "auto",
        skip_unreadable=config.unreadable == "warn",
        max_images=config.max_images,
    )
    summary = Summary(0, 0)
    if single:
        # Before the model: a wrong name is reported at once.
        with VideoSource(config.source, every=options.every, reconnect=options.reconnect) as source:
            refuse_drawings(job, [source])
            predict, classes = _predictor(config)
            tracker = _tracker(config, source)
            summary = predict_video(predict, source, replace(job, classes=classes), tracker=tracker)
            live = source.live
        _report(summary, config, predict, "frame")
        return _ended(summary, out, live=live)
    refuse_drawings(job, inputs.videos)
    predict, classes = _predictor(config)
    job = replace(job, classes=classes)
    if inputs.images:
        summary = predict_images(predict, inputs.images[: job.max_images], job, tracker=_tracker(config, None))
        _report(summary, config, predict, "image")
    if inputs.videos:
        # What was there before is gone by now, or was not to be overwritten.
        behind = replace(job, overwrite=job.overwrite and not inputs.images)
        followed = partial(_tracker, config)
        frames = predict_videos(predict, inputs.videos, behind, tracker=followed, every=options.every)
        _report(frames, config, predict, "frame", videos=len(inputs.videos))
        summary = summary.joined(frames)
    return _ended(summary, out)


def _ended(summary: Summary, out: Path, *, live: bool = False) -> RunResult:
    """The command's last line, and its exit code: a video whose rest is missing, or a signal, is no success.

    Ctrl-C is how a camera or stream is ended.
    """
    print(out)
    if summary.stopped_by is not None and not (live and summary.stopped_by == signal.SIGINT):
        raise Stopped(summary.stopped_by, f"stopped; what was done until then is in {out}")
    if summary.faults:
        first, *others = summary.faults
        more = f", and {len(others)} more" if others else ""
        raise Incomplete(f"{first}{more}; what was done until then is in {out}")
    return RunResult(out, {"images": summary.images, "boxes": summary.boxes})


def _predictor(config: Config) -> tuple[Predictor | TiledPredictor, ClassTable | None]:
    """The predictor, and the classes of its boxes; None where no head finds boxes."""
    options = config.predict
    lowest = min(config.score_threshold, options.track_low) if options.track else config.score_threshold
    predict = open_predictor(config, score_threshold=lowest)
    if config.device in ("cpu", "auto"):
        keep_freed_memory()
    classes = predict.boxed_classes
    if classes is None and (options.track or options.tiles):
        key = "track" if options.track else "tiles"
        maps = (
            "; semantic.sliding=[512,512] with image_size= looks at segmentation maps by windows"
            if options.tiles
            else ""
        )
        raise UserError(f"predict.{key}=true: model={config.model} has no detection head; leave it out{maps}")
    if not options.tiles:
        return predict, classes
    own = own_postprocess(predict.model)
    nms_iou = config.nms_iou if config.nms_iou is not None else 0.5 if own is None else own.nms_iou
    settings = TileSettings(options.tile_size, options.tile_overlap, nms_iou=nms_iou)
    return TiledPredictor(predict, settings), classes


def _tracker(config: Config, source: VideoSource | None) -> Tracker | None:
    """A tracker for a video, or for a folder of frames, which are taken for `FRAMES_PER_SECOND`."""
    options = config.predict
    if not options.track:
        return None
    step = 1 / FRAMES_PER_SECOND if source is None else float(source.every / source.rate)
    return Tracker(
        TrackerSettings.shown_from(
            config.score_threshold, low=options.track_low, patience=options.track_patience, step=step
        )
    )


def _contradictions(config: Config, overrides: Overrides, *, images: bool, videos: bool) -> None:
    """Overrides that would be ignored."""
    options, problems = config.predict, []
    for switch, keys in {"tiles": ("tile_size", "tile_overlap"), "track": ("track_low", "track_patience")}.items():
        for key in keys:
            if overrides.get(f"predict.{key}") is not None and not getattr(options, switch):
                problems.append(f"predict.{key}: has no effect without predict.{switch}=true")
    if config.resume is not None and config.overwrite:
        problems.append("resume=auto overwrite=true: go on or begin anew; give one of them")
    if config.resume is not None and options.track and images:
        problems.append("resume=auto: tracking (predict.track=true) begins at the first frame; leave resume= out")
    if videos and options.ids != "running":
        problems.append(f"predict.ids={options.ids}: the frames of a video have no names; leave it out")
    if not videos and overrides.get("predict.every") is not None:
        problems.append("predict.every: has no effect on images; leave it out")
    live = is_video(config.source) and (is_camera(config.source) or is_address(config.source))
    if not live and overrides.get("predict.reconnect") is not None:
        problems.append("predict.reconnect: is for cameras and streams; leave it out")
    if overrides.get("predict.alpha") is not None and not options.draw:
        problems.append("predict.alpha: has no effect with predict.draw=false")
    if problems:
        raise ConfigError(problems)


def _report(
    summary: Summary, config: Config, predict: Predictor | TiledPredictor, unit: str, *, videos: int = 1
) -> None:
    for line in summary.unreadable[:REPORTED]:
        print(f"warning: {line}", file=sys.stderr)
    if unit == "frame":
        _report_frames(summary)
    elif count := len(summary.unreadable):
        more = f", {REPORTED} of them named above" if count > REPORTED else ""
        print(
            f"warning: left out as unreadable: {count} of {counted(count + summary.images, unit)}{more}",
            file=sys.stderr,
        )
    if summary.resumed:
        print(f"{counted(summary.resumed, unit)} done before")
    if summary.stopped:
        print(f"stopped; what was done is whole: {counted(summary.images, unit)}")
    of = f" of {videos} videos" if videos > 1 else ""
    base = predict.predictor if isinstance(predict, TiledPredictor) else predict
    if summary.tracks is not None:
        print(
            f"{counted(summary.tracks, 'object')} followed through {counted(summary.images, unit)}{of}, "
            f"{counted(summary.boxes, 'box')}"
        )
    elif base.boxed_classes is not None:
        print(
            f"{counted(summary.boxes, 'box')} of score ≥ {config.score_threshold:g} in {counted(summary.images, unit)}{of}"
        )
    else:
        print(f"{', '.join(base.kits)} of {counted(summary.images, unit)}{of}")


def _report_frames(summary: Summary) -> None:
    more = f", {REPORTED} of them named above" if len(summary.unreadable) > REPORTED else ""
    if summary.lost:
        count = summary.lost + summary.images
        print(f"warning: left out as damaged: {summary.lost} of {counted(count, 'frame')}{more}", file=sys.stderr)
    if summary.gaps:
        print(f"warning: gaps in time, where frames are missing: {summary.gaps}{more}", file=sys.stderr)
    if summary.flawed:
        print(
            f"warning: decoded with errors: {summary.flawed} of {counted(summary.images, 'frame')}{more}",
            file=sys.stderr,
        )


FUSION = "fusion.html"


def run_explain(config: Config, overrides: Overrides) -> RunResult:
    """Draw ``IMAGE-HEAD-N-CLASS.jpg`` for each thing found, and ``fusion.html`` where the neck weighs its inputs."""
    source = [] if config.source is None else find_images(config.source)
    images = source[: config.max_images]
    model = open_network(config).to(torch_device(config.device))
    weighs = bool(fusion_shares(model))
    if not (images or weighs):
        raise UserError(f"model={config.model}: its neck has no learned fusion weights; name an image by source=IMAGE")
    out = Path(config.out)
    out.mkdir(parents=True, exist_ok=True)
    if weighs:
        print(fusion_page(model, title=f"Fusion weights of {Path(config.model).name}").write(out / FUSION))
    drawn = 0
    for path, stem in zip(images, distinct_names(images, ""), strict=True):
        found = explain(
            model,
            path,
            head=config.head,
            layer=config.layer,
            method=config.method,
            most=config.most,
            score_threshold=config.score_threshold,
        )
        for number, seen in enumerate(found, start=1):
            plain = re.sub(r"[^\w]+", "_", seen.name)
            target = out / f"{stem}-{seen.head}-{number}-{plain}.jpg"
            refuse_overwriting([target], source, key=f"out={config.out}")
            with replacing(target) as partial:
                seen.draw().save(partial)
        drawn += len(found)
    if images:
        print(f"{counted(drawn, 'target')} in {counted(len(images), 'image')}")
    print(out)
    return RunResult(out, {})
