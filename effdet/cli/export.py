"""What leaves the project: ``effdet export`` (a file for another runtime), ``serve`` (HTTP), ``shards`` (a split as tar)."""

from __future__ import annotations

import ipaddress
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from glob import escape
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from rich.progress import Progress

from effdet.cli.config import Config, as_size
from effdet.cli.data import evaluators, labels_of, open_split
from effdet.cli.models import POSTPROCESS, InferenceKeys, ModelKeys, open_network, open_predictor
from effdet.cli.overrides import Overrides
from effdet.cli.run import RunResult, refuse_json, run_of
from effdet.data import Dataset, EvalSet
from effdet.data.images import read_image
from effdet.data.shards import write_shards
from effdet.data.shards.index import index_path, load_index
from effdet.evaluation import LossEvaluator, evaluate
from effdet.export import ExportSettings, Tolerance, export_model
from effdet.export.gate import Measure
from effdet.export.images import canvases, spread, street_images
from effdet.files import refuse_overwriting, refuse_replacing
from effdet.inference.sources import find_images
from effdet.model import VisionModel
from effdet.plurals import counted
from effdet.preprocess import Preprocess
from heads.structures import UserError

if TYPE_CHECKING:
    from effdet.cli.settings import Data


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """How int8 measures its ranges."""

    images: Annotated[int, "1.."]
    """Images that int8 measures its ranges on: of the train split of data, or of source."""


@dataclass(frozen=True, kw_only=True)
class Gate:
    """How file and model are compared."""

    images: Annotated[int, "1.."]
    """Images that model and file are compared on, output by output."""
    metrics: bool
    """false leaves out the comparison of AP on data."""


@dataclass(frozen=True, kw_only=True)
class ToleranceKeys:
    """How far they may be apart; null is usual for the precision."""

    logit: Annotated[float, "0.."] | None
    """Largest difference of a class logit; null is the usual one of the precision."""
    box: Annotated[float, "0.."] | None
    """Largest difference of a box coordinate in input pixels; null is the usual one of the precision."""
    output: Annotated[float, "0.."] | None
    """Largest difference of another head's output; null is the usual one of the precision."""
    agreement: Annotated[float, "0..1"] | None
    """Least share of the model's confident detections that the file makes too; null is the usual one of the
    precision."""
    drop: Annotated[float, "-1..1"] | None
    """Most that AP, mIoU or top-1 may lose; null is the usual one of the precision."""


@dataclass(frozen=True, kw_only=True)
class Export(ModelKeys, ExportSettings):
    """Keys of `effdet export`."""

    out: Path | None
    """The file, or a folder that is there; null is export/NAME.SUFFIX in the run, or exports/NAME.SUFFIX."""
    score_threshold: Annotated[float, "0..1"] | None
    """Detections with lower scores are dropped; null is the model's own (.001, as for COCO results)."""
    source: Path | None
    """Images without labels to compare and calibrate on, as predict takes them."""
    split: Literal["train", "val", "test"]
    """Split of data that AP is measured on."""
    max_images: Annotated[int, "1.."] | None
    """Measure AP on the first N images; null is all, or as many as the run was limited to."""
    threads: Annotated[int, "1.."] | None
    """Threads of the file's runtime in the comparison; null takes as many as torch."""
    calibration: Calibration
    gate: Gate
    tolerance: ToleranceKeys
    data: Data


@dataclass(frozen=True, kw_only=True)
class ServeKeys:
    """Limits of the server."""

    lowest_score: Annotated[float, "0..1"]
    """No request gets boxes with lower scores; a lower value costs time in post-processing."""
    max_megabytes: Annotated[float, "0.."]
    """Size of a request's body; larger ones are refused (413)."""
    max_megapixels: Annotated[float, "0.."]
    """Size of an image, checked by its header before it is decoded (413)."""
    timeout: Annotated[float, "0.."]
    """Seconds for a body to arrive (408), and for a response (504)."""
    queue: Annotated[int, "1.."]
    """Requests in progress or waiting; more are refused immediately (503)."""
    wait: Annotated[float, "0.."]
    """Maximum batching delay in seconds: how long a batch that is not full waits for more requests."""


@dataclass(frozen=True, kw_only=True)
class Serve(InferenceKeys):
    """Keys of `effdet serve`."""

    host: str
    """Address to listen on; 127.0.0.1 accepts connections only from this machine, 0.0.0.0 from any."""
    port: Annotated[int, "0..65535"]
    """Port to listen on; 0 takes a free one."""
    batch_size: Annotated[int, "1.."]
    """Images of several requests that go through the model together."""
    score_threshold: Annotated[float, "0..1"]
    """Boxes with lower scores are left out where a request gives no threshold."""
    serve: ServeKeys


@dataclass(frozen=True, kw_only=True)
class Shards:
    """Keys of `effdet shards`."""

    split: Literal["train", "val", "test"]
    """What to write."""
    out: Path | None
    """Folder to write to; must be given."""
    megabytes: Annotated[float, "0.."]
    """Size of a full shard in 10^6 bytes."""
    shuffle: Annotated[int, "0.."] | None
    """Seed of a shuffle before writing, since training shuffles across only a few shards; null keeps the order."""
    max_images: Annotated[int, "1.."] | None
    """Only the first N images."""
    overwrite: bool
    """true replaces the split that out holds."""
    data: Data


def run_export(config: Config, overrides: Overrides) -> RunResult:
    """Write, compare, print."""
    settings = ExportSettings(
        format=config.format,
        precision=config.precision,
        nms=config.nms,
        normalise=config.normalise,
        batch_size=config.batch_size,
        dynamic_size=config.dynamic_size,
    )
    settings.check_installed()
    if settings.precision == "int8" and config.source is None and config.get("data.name") is None:
        raise UserError("precision=int8 needs images to measure ranges on: data=NAME data.root=DIR, or source=FOLDER")
    target = output_file(config, settings)
    refuse_export(config, target, [] if config.source is None else find_images(config.source))
    model = open_network(config)
    size = as_size(config.image_size)
    canvas = (size, size) if isinstance(size, int) else size
    preprocess = model.preprocess if canvas is None else model.preprocess.fitted(canvas)
    labelled = None
    if config.get("data.name") is not None:
        labelled = open_split(config, config.split, requested=labels_of(model))
    report = export_model(
        model,
        target,
        settings,
        images=_compared(config, labelled, preprocess),
        calibration=_calibration(config, preprocess) if settings.precision == "int8" else None,
        postprocess={key: config.get(key) for key in POSTPROCESS if config.get(key) is not None},
        image_size=canvas,
        tolerance=Tolerance.of(settings.precision, config.get("tolerance")),
        measure=_measure(model, labelled, preprocess) if labelled is not None and config.gate.metrics else None,
        threads=config.threads,
        notify=lambda report: print(*report.lines(), sep="\n"),
    )
    for name, (before, after) in report.metrics.items():
        print(f"{name} {before:.4f} of the model, {after:.4f} of the file")
    size_mb = sum(file.stat().st_size for file in target.parent.glob(f"{escape(target.stem)}.*")) / 1e6
    print(f"{size_mb:.1f} MB")
    print(target)
    return RunResult(target.parent, {name: after for name, (_, after) in report.metrics.items()})


def output_file(config: Config, settings: ExportSettings) -> Path:
    """``out``, a file or a folder that is there; else a file of ``export`` in the run of the model, else of ``exports``."""
    model, suffix = Path(config.model), f"-{settings.precision}{settings.kind.suffix}"
    if config.out is not None:
        out = Path(config.out)
        return out / f"{model.stem}{suffix}" if out.is_dir() else out
    if (directory := run_of(config.model)) is not None:
        return directory / "export" / f"{directory.resolve().name}{suffix}"
    return Path("exports") / f"{model.stem}{suffix}"


def _compared(config: Config, labelled: Dataset | None, preprocess: Preprocess) -> Any:
    """Canvases of ``source``, else of the labelled set, else of drawn streets."""
    count = config.gate.images
    if config.source is not None:
        return canvases(_read(config.source, count), preprocess)
    if labelled is not None:
        return canvases(_read_source(labelled, count), preprocess)
    print("comparing on drawn streets: data=NAME or source=FOLDER compares on your own images")
    return canvases(street_images(count), preprocess)


def _calibration(config: Config, preprocess: Preprocess) -> Any:
    """Canvases that stand for what the file will see."""
    count = config.calibration.images
    if config.source is not None:
        return canvases(_read(config.source, count), preprocess)
    return canvases(
        _read_source(open_split(config.replacing({"max_images": None}), "train", requested=()), count), preprocess
    )


def _measure(model: VisionModel, source: Dataset, preprocess: Preprocess) -> Measure:
    def measure(predict: Any) -> Mapping[str, Any]:
        dataset = EvalSet(source, preprocess)
        made = evaluators(model, dataset)
        made = {name: one for name, one in made.items() if not isinstance(one, LossEvaluator)}  # a file has no loss
        return evaluate(predict, dataset, evaluators=made).metrics if made else {}

    return measure


def _read(source: str, count: int) -> Any:
    paths = find_images(source)
    return (read_image(str(paths[index])) for index in spread(len(paths), count))


def _read_source(source: Dataset, count: int) -> Any:
    return (source.read_image(source.records[index]) for index in spread(len(source), count))


def run_serve(config: Config, overrides: Overrides) -> int:
    """Serve until Ctrl-C."""
    try:
        import uvicorn

        from effdet.serve import ServeSettings, create_app
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith(("effdet", "heads", "backbones")):
            raise
        raise UserError(f"serve needs {error.name}: pip install 'effdet-lightning[serve]'") from None
    settings = ServeSettings(
        max_bytes=round(config.serve.max_megabytes * 1e6),
        max_pixels=round(config.serve.max_megapixels * 1e6),
        timeout=config.serve.timeout,
        queue=config.serve.queue,
        batch_size=config.batch_size,
        wait=config.serve.wait,
        score_threshold=config.score_threshold,
    )
    listener = _listener(config.host, config.port)  # before the model: a port that is taken is reported at once
    predict = open_predictor(config, score_threshold=min(config.serve.lowest_score, config.score_threshold))
    app = create_app(predict, settings=settings, about=_about(config, predict))
    server = uvicorn.Server(
        uvicorn.Config(app, log_level="warning", timeout_keep_alive=5, timeout_graceful_shutdown=10, access_log=False)
    )
    if not _is_loopback(config.host):
        print(
            f"warning: host={config.host}: every machine that reaches this one can use the server, which knows no "
            "authentication or TLS; put a reverse proxy before it (docs/serve.md)",
            file=sys.stderr,
        )
    host, port = listener.getsockname()[:2]
    print(
        f"http://{f'[{host}]' if ':' in host else host}:{port}  (page; /predict /health /metrics /docs); Ctrl-C ends it"
    )
    sys.stdout.flush()
    server.run(sockets=[listener])
    return 0


def _listener(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(128)  # whoever comes before the server is ready waits
    except OSError as error:
        text = error.strerror or str(error)
        raise UserError(f"host={host} port={port}: cannot be listened on ({text}); port=0 takes a free one") from None
    return listener


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _about(config: Config, predict: Any) -> dict[str, Any]:
    classes = predict.model.classes
    return {
        "model": Path(config.model).name,  # where it lies is nobody's business
        "input": list(predict.preprocess.size),
        "heads": {head: [name for name in table.names if name is not None] for head, table in classes.items()},
    }


def run_shards(config: Config, overrides: Overrides) -> RunResult:
    """Write, and say what was written."""
    out = Path(config.out)
    index = index_path(out, config.split)
    if not config.overwrite and (index.exists() or any(out.glob(f"{config.split}-[0-9]*.tar"))):
        raise UserError(f"out={out}: holds shards of split {config.split}; replace them by overwrite=true")
    root = config.get("data.root")
    if config.get("data.name") == "shards" and root is not None and out.exists() and out.samefile(root):
        raise UserError(f"out={out}: holds the shards that would be read; name another folder")
    source = open_split(config, config.split)
    for line in source.warnings:
        print(f"warning: {line}")
    with Progress(transient=True) as progress:
        task = progress.add_task("images", total=len(source))
        path = write_shards(
            source,
            out,
            megabytes=config.megabytes,
            shuffle=config.shuffle,
            advance=lambda count: progress.update(task, completed=count),
        )
    shards = load_index(path).shards
    size = sum(shard.size for shard in shards) / 1e6
    print(
        f"{counted(len(source), 'image', ',')} of {source.name} {config.split} in {counted(len(shards), 'shard')}, "
        f"{size:,.1f} MB"
    )
    print(out)
    return RunResult(out, {})


def refuse_export(config: Config, target: Path, sources: list[Path]) -> None:
    """The files of `export`, with those that lie beside them.

    Raises:
        UserError: one is read, or is there and nothing that `export` writes.
    """
    key = f"out={target}"
    beside = {".pte": (".json",), ".xml": (".bin",), ".onnx": (".onnx.data",)}.get(target.suffix, ())
    files = [target, *(target.with_suffix(suffix) for suffix in beside)]
    named = [Path(value) for name in ("model", "weights") if isinstance(value := config.get(name), str)]
    refuse_overwriting(files, [path for path in [*named, *sources] if path.is_file()], key=key)
    if target.suffix == ".pte":
        refuse_json(files[1], "version", "spec", key=key, what="the description of an exported file")
    if target.suffix == ".xml":
        for file in files:
            refuse_replacing(file, _is_openvino, key=key, what="of OpenVINO")


def _is_openvino(path: Path) -> bool:
    return b"<net" in path.with_suffix(".xml").read_bytes()[:4096]
