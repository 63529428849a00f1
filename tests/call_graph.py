"""Who calls whom among some modules, read from their source: enough to ask whether a function leads to some call."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
Test = Callable[[ast.Call], bool]


class Calls:
    """Functions as "package.module.function" (methods without their class), with the calls in each."""

    def __init__(self, modules: Iterable[str]) -> None:
        self.inside: dict[str, list[ast.Call]] = {}
        self._leads: dict[str, set[str]] = {}
        trees = {name: ast.parse((ROOT / f"{name.replace('.', '/')}.py").read_text()) for name in modules}
        for module, tree in trees.items():
            for function in _functions(tree):
                name = f"{module}.{function.name}"
                self.inside.setdefault(name, []).extend(n for n in ast.walk(function) if isinstance(n, ast.Call))
        for module, tree in trees.items():
            known = _imported(tree)
            for function in _functions(tree):
                found = self._leads.setdefault(f"{module}.{function.name}", set())
                # Also functions that are handed on: `verbs = {"approve": approve}`.
                found |= {name for node in ast.walk(function) for name in _named(node, module, known)} & set(
                    self.inside
                )

    def public(self) -> list[str]:
        return sorted(name for name in self.inside if not name.rpartition(".")[2].startswith("_"))

    def leads_to(self, function: str, test: Test, seen: set[str] | None = None) -> bool:
        """Whether the function, or one that it calls among these modules, has a call that passes the test."""
        seen = seen if seen is not None else set()
        if function in seen:
            return False
        seen.add(function)
        return any(map(test, self.inside[function])) or any(
            self.leads_to(each, test, seen) for each in self._leads[function]
        )


def _functions(tree: ast.Module) -> Iterator[ast.FunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            yield node


def _imported(tree: ast.Module) -> dict[str, str]:
    """Local name → what it stands for."""
    known = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                known[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    return known


def _named(node: ast.AST, module: str, known: dict[str, str]) -> Iterator[str]:
    if isinstance(node, ast.Name):
        yield known.get(node.id, f"{module}.{node.id}")
    elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        if node.value.id == "self":
            yield f"{module}.{node.attr}"
        else:
            yield f"{known.get(node.value.id, module)}.{node.attr}"
