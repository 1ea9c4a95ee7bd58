"""Writes two variants of a set in COCO form beside each other: every class renamed, and images with only people.

    python -m benchmarks.coco_variants COCO OUT

``OUT/renamed`` has the same boxes under names that no public class table knows, so that a model which was trained on COCO
starts with fresh rows; ``OUT/person`` has the images that show people, with their boxes. Images are linked, not copied.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

SPLITS = ("train2017", "val2017")


def renamed(content: dict[str, Any]) -> dict[str, Any]:
    """`content` with its categories called thing_1, thing_2, … by their ids."""
    categories = [{**category, "name": f"thing_{category['id']}"} for category in content["categories"]]
    return {**content, "categories": categories}


def of_category(content: dict[str, Any], name: str) -> dict[str, Any]:
    """The images of `content` with an annotation of the category `name`, and these annotations."""
    categories = [category for category in content["categories"] if category["name"] == name]
    ids = {category["id"] for category in categories}
    annotations = [entry for entry in content["annotations"] if entry["category_id"] in ids]
    images = {entry["image_id"] for entry in annotations}
    return {
        **content,
        "categories": categories,
        "annotations": annotations,
        "images": [image for image in content["images"] if image["id"] in images],
    }


def write(source: Path, out: Path) -> None:
    """Write both variants of `source` below `out`."""
    for split in SPLITS:
        content = json.loads((source / "annotations" / f"instances_{split}.json").read_text(encoding="utf-8"))
        for name, variant in (("renamed", renamed(content)), ("person", of_category(content, "person"))):
            directory = out / name
            (directory / "annotations").mkdir(parents=True, exist_ok=True)
            (directory / "annotations" / f"instances_{split}.json").write_text(json.dumps(variant), encoding="utf-8")
            if not (directory / split).exists():
                (directory / split).symlink_to((source / split).resolve(), target_is_directory=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.coco_variants", description=__doc__.split("\n")[0])  # type: ignore[union-attr]
    parser.add_argument("source", type=Path)
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    write(options.source, options.out)
    print(options.out)


if __name__ == "__main__":
    main()
