"""How the product's modules import each other, and what they import from outside."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).resolve().parents[1]
PRODUCT = [path for package in ("effdet", "backbones", "heads") for path in sorted((ROOT / package).rglob("*.py"))]
INDIRECT = {"tensorboard"}
"""Required though no line imports them: Lightning does."""
PACKAGES = ("effdet", "backbones", "heads", "benchmarks")


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return grimp.build_graph(*PACKAGES, exclude_type_checking_imports=True)


def circles(imported_by: dict[str, set[str]]) -> list[set[str]]:
    """The groups of modules that import each other, directly or through others (strongly connected, by Tarjan)."""
    number: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []
    found = []

    def visit(module: str) -> None:
        number[module] = lowest[module] = len(number)
        stack.append(module)
        for other in imported_by[module]:
            if other not in number:
                visit(other)
                lowest[module] = min(lowest[module], lowest[other])
            elif other in stack:
                lowest[module] = min(lowest[module], number[other])
        if lowest[module] == number[module]:
            group = set(stack[stack.index(module) :])
            del stack[stack.index(module) :]
            if len(group) > 1:
                found.append(group)

    for module in sorted(imported_by):
        if module not in number:
            visit(module)
    return found


def test_circles_by_hand():
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a", "e"}, "e": set()}) == [{"a", "b", "c"}]
    assert circles({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


def test_no_module_imports_itself_through_others(graph: grimp.ImportGraph):
    """Within packages too, which import-linter does not look at; also where an import stands inside a function."""
    imports = {module: set(graph.find_modules_directly_imported_by(module)) for module in graph.modules}
    assert len(imports) > 300 and circles(imports) == []


def third_party() -> dict[str, set[Path]]:
    """Distributions that product code imports at any place, and the files that do."""
    distributions = packages_distributions()
    found: dict[str, set[Path]] = {}
    for path in PRODUCT:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                names = [node.module]
            for top in {name.partition(".")[0] for name in names} - {"effdet", "backbones", "heads"}:
                if top not in sys.stdlib_module_names:
                    for name in distributions.get(top, [top]):
                        found.setdefault(_plain(name), set()).add(path)
    return found


def _plain(requirement: str) -> str:
    return re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0].lower().replace("_", "-").replace(".", "-")


def _declared() -> tuple[set[str], dict[str, set[str]]]:
    """Required distributions, and those of each extra."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = {name: set(map(_plain, lines)) for name, lines in project["optional-dependencies"].items()}
    return set(map(_plain, project["dependencies"])), extras


def test_what_is_imported_is_declared_and_the_error_of_a_missing_extra_names_it():
    required, extras = _declared()
    code = "\n".join(path.read_text("utf-8") for path in PRODUCT)
    for name, files in third_party().items():
        if name in required:
            continue
        of = [extra for extra, names in extras.items() if name in names]
        assert of, f"{name} is imported in {sorted(map(str, files))} and declared nowhere"
        named = any(f"effdet-lightning[{extra}]" in code or f'extra="{extra}"' in code for extra in of)
        assert named, f"no error names the extra of {name}: {of}"


def test_what_is_required_is_imported():
    required, _ = _declared()
    assert required - set(third_party()) == INDIRECT


def test_commands_that_train_nothing_import_no_lightning() -> None:
    """It takes a second and more, which an evaluation, a prediction or an export need not wait for."""
    modules = ", ".join(f"effdet.cli.{name}" for name in ("evaluate", "predict", "export", "info"))
    heavy = ("lightning", "torchmetrics", "matplotlib")
    code = f"import sys, {modules}; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"
