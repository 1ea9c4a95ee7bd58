"""Private names of PyTorch and Lightning: in two modules, for versions that were looked at."""

from __future__ import annotations

import ast
from importlib.metadata import version
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from backbones import torch_internals

ROOT = Path(__file__).resolve().parents[1]
CHECKED = {"torch": ["2.15"], "lightning": ["2.6"]}
"""Releases under which the tests below and those of resuming, EMA and memory-efficient activations pass."""
HOMES = {"backbones/torch_internals.py", "effdet/training/lightning_internals.py"}
PUBLIC = {"_exit", "_target_", "_value"}
"""Documented in spite of their underscore: by Python, by Hydra; and an override's value as Hydra's parser gives it."""


@pytest.mark.parametrize("package", CHECKED)
def test_the_versions_were_checked(package: str):
    """Another release: look whether its sources have the names of the two modules, run with -m slow, and add it."""
    installed = ".".join(version(package).split(".")[:2])
    assert installed in CHECKED[package], f"{package} {installed} was not checked, {', '.join(CHECKED[package])} were"


def _own_names(trees: list[ast.Module]) -> set[str]:
    names = set()
    for node in (node for tree in trees for node in ast.walk(tree)):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in ("self", "cls"):
            names.add(node.attr)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
    return names


def test_private_names_of_others_stand_in_two_modules():
    paths = [path for package in ("effdet", "backbones", "heads") for path in (ROOT / package).rglob("*.py")]
    trees = {path.relative_to(ROOT).as_posix(): ast.parse(path.read_text("utf-8")) for path in paths}
    own = _own_names(list(trees.values()))
    found = []
    for name, tree in trees.items():
        if name in HOMES:
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.startswith("__"):
                text = ast.unparse(node)
                ours = node.attr in own and not text.startswith("torch.")
                if not ours and node.attr not in PUBLIC:
                    found.append(f"{name}:{node.lineno}: {text}")
            if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in ("torch", "lightning"):
                hidden = [alias.name for alias in node.names if alias.name.startswith("_")]
                found += [f"{name}:{node.lineno}: {node.module} import {alias}" for alias in hidden]
    assert found == []


def test_workers_end_when_asked():
    loader = DataLoader(range(4), num_workers=1, persistent_workers=True)  # type: ignore[arg-type]
    assert len(list(loader)) == 4
    worker = loader._iterator._workers[0]
    torch_internals.end_workers(loader)
    worker.join(10)
    assert not worker.is_alive() and len(list(loader)) == 4
    torch_internals.end_workers(loader)
    torch_internals.end_workers(loader)


def test_hooks_and_rates():
    layer = nn.Linear(1, 1)
    assert not torch_internals.has_hooks(layer)
    layer.register_forward_hook(lambda *_: None)
    assert torch_internals.has_hooks(layer)
    scheduler = torch.optim.lr_scheduler.ConstantLR(torch.optim.SGD(layer.parameters(), lr=1.0))
    torch_internals.set_last_rates(scheduler, [0.25])
    assert scheduler.get_last_lr() == [0.25]
