"""How the product's modules import each other, and what they import from outside."""

from __future__ import annotations

import grimp
import pytest

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
