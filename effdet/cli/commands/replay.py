"""``effdet replay``: a training step that was not finite, run again with eyes on every module."""

from __future__ import annotations

from pathlib import Path

from effdet.cli.assemble import torch_device
from effdet.cli.config import Config
from effdet.cli.overrides import Words
from effdet.files import refuse_overwriting
from effdet.training.kept_step import KeptStep, read_kept_step
from effdet.training.replay import Bad, Replay, described_model, replay
from effdet.training.sheets import draw_training_batch

SHOWN = 5


def run(config: Config, words: Words) -> int:
    """Print what was found, draw the pictures; 0 where the step is not finite here either."""
    if config.out is not None:
        refuse_overwriting([config.out], [config.file], key=f"out={config.out}")
    device = torch_device(config.device)
    kept = read_kept_step(config.file)
    precision = config.precision or kept.precision
    _describe(kept, f"{precision} on {device}")
    model = described_model(kept, trust=config.trust)
    found = replay(kept, model, device=device, precision=precision)
    _tell(found)
    picture = Path(config.out) if config.out is not None else kept.path.with_suffix(".jpg")
    print(draw_training_batch(kept.batches[0].batch, model, picture))
    return 1 if found.first is None else 0


def _describe(kept: KeptStep, where: str) -> None:
    pictures = ", ".join(str(number) for item in kept.batches for number in item.batch.indices.tolist())
    of = f" of process {kept.rank} of {kept.processes}" if kept.processes > 1 else ""
    print(
        f"step {kept.step}{of}: {kept.spec.get('name')}, {len(kept.batches)} batches, pictures {pictures} of the train split"
    )
    print(f"the run saw loss {kept.loss:g} and gradient norm {kept.grad_norm:g} in {kept.precision}")
    print(f"again, {where}:")


def _tell(found: Replay) -> None:
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
