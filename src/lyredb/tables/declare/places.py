"""Where in a source file a class or a column is declared. Only looked for in an error."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

from lyredb.errors import SchemaError


def schema_error(message: str, cls: type, attribute: str = "") -> SchemaError:
    """Return an error with the place of a class, or of one of its columns.

    Args:
        message: What is wrong.
        cls: The class, complete or not.
        attribute: The column's name in the class.
    """
    what = f"{cls.__name__}.{attribute}" if attribute else cls.__name__
    file, line, column = _place(cls, attribute)
    return SchemaError(f"{what}: {message}", file=file, line=line, column=column)


def place_of(cls: type, attribute: str = "") -> str:
    """Return the place as text: ``tables.py:3:5``, as far as it is known."""
    return ":".join(str(part) for part in _place(cls, attribute) if part)


def _place(cls: type, attribute: str) -> tuple[str, int, int]:
    module = sys.modules.get(cls.__module__)
    path = getattr(module, "__file__", None)
    if not path:
        return cls.__module__, 0, 0
    return Path(path).name, *_position(path, cls.__qualname__, attribute)


def _position(path: str, qualified_name: str, attribute: str) -> tuple[int, int]:
    try:
        tree = ast.parse(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, SyntaxError):
        return 0, 0  # a module without readable source has names, but no lines
    names = [name for name in qualified_name.split(".") if name != "<locals>"]
    found = _class(tree, names)
    if found is None:
        return 0, 0
    for node in found.body:
        if attribute and attribute in _names(node):
            return node.lineno, node.col_offset + 1
    return found.lineno, found.col_offset + 1


def _class(tree: ast.AST, names: list[str]) -> ast.ClassDef | None:
    node: ast.AST = tree
    for name in names:
        inner = next(_named(node, name), None)
        if inner is None:
            return None
        node = inner
    return node if isinstance(node, ast.ClassDef) else None


def _named(tree: ast.AST, name: str) -> Iterator[ast.AST]:
    kinds = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    return (node for node in ast.walk(tree) if isinstance(node, kinds) and node.name == name)


def _names(node: ast.stmt) -> Iterator[str]:
    targets: list[ast.expr] = []
    if isinstance(node, ast.AnnAssign):
        targets = [node.target]
    elif isinstance(node, ast.Assign):
        targets = node.targets
    return (target.id for target in targets if isinstance(target, ast.Name))
