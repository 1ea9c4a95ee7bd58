"""Pictures and masks that share a name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from effdet.data.checks import Findings
from effdet.data.listing import files_below, images_below
from effdet.data.mask_files import SUFFIXES as MASK_SUFFIXES


def paired(
    pictures: Path, masks: Path, findings: Findings, *, mask_suffix: str = ""
) -> tuple[list[str], list[Path | None]]:
    """Pairs the pictures below one folder with the masks below another, by path without suffix.

    Args:
        pictures: folder of pictures.
        masks: folder of masks; it may be the same one where `mask_suffix` tells them apart.
        findings: takes masks without a picture, and names that fit twice. (Pictures without a mask are told when the
            table is built.)
        mask_suffix: what a mask's name has after its picture's.

    Returns:
        Pictures relative to their folder, sorted, and each one's mask or None.
    """
    found = _names(images_below(pictures, findings), pictures)
    names: dict[str, str] = {}
    for name in found:
        stem = name.rpartition(".")[0]
        if masks == pictures and mask_suffix and stem.endswith(mask_suffix):
            continue
        if stem in names:
            findings.error(
                "same-name", pictures / name, f"{names[stem]} has the same name: which is the mask's picture?"
            )
        names.setdefault(stem, name)
    by_stem: dict[str, Path] = {}
    for name in _names(files_below(masks, MASK_SUFFIXES, findings if masks != pictures else Findings()), masks):
        stem = name.rpartition(".")[0]
        if not stem.endswith(mask_suffix):
            continue
        stem = stem.removesuffix(mask_suffix)
        if masks == pictures and not mask_suffix:
            continue
        if stem not in names:
            findings.error("missing-picture", masks / name, f"no picture of that name in {pictures}")
        elif stem in by_stem:
            findings.error("same-name", masks / name, f"{by_stem[stem].name} is a mask of the same name")
        by_stem.setdefault(stem, masks / name)
    return list(names.values()), [by_stem.get(stem) for stem in names]


def _names(paths: Sequence[Path], folder: Path) -> list[str]:
    """Relative to `folder` with forward slashes, sorted."""
    return sorted(path.relative_to(folder).as_posix() for path in paths)
