"""``effdet explain``: Grad-CAM of what a model finds in images, and the weights that its neck has learned."""

from __future__ import annotations

import re
from pathlib import Path

from effdet.cli.assemble import torch_device
from effdet.cli.config import Config
from effdet.cli.models import open_network
from effdet.cli.overrides import Overrides
from effdet.cli.run import RunResult
from effdet.files import distinct_names, refuse_overwriting, replacing
from effdet.inference.explain import explain
from effdet.inference.fusion import fusion_page, fusion_shares
from effdet.inference.sources import find_images
from heads.structures import UserError

FUSION = "fusion.html"


def run(config: Config, overrides: Overrides) -> RunResult:
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
        print(f"{drawn} targets in {len(images)} images")
    print(out)
    return RunResult(out, {})
