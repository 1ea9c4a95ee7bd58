"""``effdet replay``: a training step that was not finite, run again with eyes on every module."""

from __future__ import annotations

from pathlib import Path

from effdet.cli.assemble import torch_device
from effdet.cli.config import Config
from effdet.cli.overrides import Overrides
from effdet.files import refuse_overwriting
from effdet.training.image_grids import draw_training_batch
from effdet.training.nonfinite_dump import NonFiniteStep, read_nonfinite_step
from effdet.training.replay import Bad, Replay, described_model, replay

SHOWN = 5


def run(config: Config, overrides: Overrides) -> int:
    """Print what was found, draw the images; 0 where the step is not finite here either."""
    if config.out is not None:
        refuse_overwriting([config.out], [config.file], key=f"out={config.out}")
    device = torch_device(config.device)
    dump = read_nonfinite_step(config.file)
    precision = config.precision or dump.precision
    _describe(dump, f"{precision} on {device}")
    model = described_model(dump, trust=config.trust)
    found = replay(dump, model, device=device, precision=precision)
    _report(found)
    image = Path(config.out) if config.out is not None else dump.path.with_suffix(".jpg")
    print(draw_training_batch(dump.batches[0].batch, model, image))
    return 1 if found.first is None else 0


def _describe(dump: NonFiniteStep, where: str) -> None:
    images = ", ".join(str(number) for item in dump.batches for number in item.batch.indices.tolist())
    of = f" of process {dump.rank} of {dump.processes}" if dump.processes > 1 else ""
    print(
        f"step {dump.step}{of}: {dump.spec.get('name')}, {len(dump.batches)} batches, images {images} of the train split"
    )
    print(f"the run saw loss {dump.loss:g} and gradient norm {dump.grad_norm:g} in {dump.precision}")
    print(f"again, {where}:")


def _report(found: Replay) -> None:
    for title, places in (
        ("weights before the step", found.weights),
        ("outputs", found.forward),
        ("gradients on their way back", found.backward),
        ("gradients of weights", found.gradients),
    ):
        _list(title, places)
    terms = ", ".join(f"{name} {value:g}" for name, value in found.terms.items())
    print(f"  loss: {terms}; gradient norm {found.norm:g}")
    if found.first is not None:
        print(f"first: {found.first}")
    else:
        print("the step is finite here: another device, another precision, or boxes of the other processes made it bad")


def _list(title: str, places: tuple[Bad, ...]) -> None:
    if not places:
        print(f"  {title}: all finite")
        return
    print(f"  {title}: {len(places)} places are not finite")
    for place in places[:SHOWN]:
        print(f"    {place}")
    if len(places) > SHOWN:
        print(f"    … and {len(places) - SHOWN} more")
