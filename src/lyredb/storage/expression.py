"""Safe expressions over a record: what computed attributes are made of.

They look like Python and mean what Python means: arithmetic, comparison, boolean
operators, ``a if b else c``, lists, indexing and slicing, f-strings, and what
`operations` lists. There are no attributes, loops or calls of anything else. Text is
parsed once by Python's own parser, checked against the list, and becomes closures.

An expression never raises on data. What Python would raise on, and what is too big, is
`None`. Its work is bounded: `MAX_NODES` steps, and what a step makes has at most
`MAX_SIZE` characters or elements, or `MAX_BITS` bits.
"""

from __future__ import annotations

import ast
import math
import warnings
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from functools import lru_cache
from typing import Final, NoReturn

from lyredb.errors import InvalidInput
from lyredb.storage.operations import (
    ARITHMETIC,
    COMPARISONS,
    FUNCTIONS,
    MAX_BITS,
    METHODS,
    UNARY,
    joined,
)

MAX_CHARACTERS: Final = 2000
MAX_NODES: Final = 256
MAX_LEVELS: Final = 32

Values = Mapping[str, object]
_Closure = Callable[[Values], object]

_CONSTANTS: Final = (str, int, float, bool, type(None))
_FAILURES: Final = (
    TypeError,
    ValueError,  # UnicodeError is one
    ArithmeticError,
    LookupError,
    AttributeError,
    MemoryError,
    RecursionError,
)
"""What an operation on unsuitable values raises."""


class ExpressionError(InvalidInput):
    """The text is no expression.

    Attributes:
        column: Where in the text, 1-based.
    """

    def __init__(self, message: str, column: int) -> None:
        super().__init__(f"{message} (column {column} of the expression)")
        self.column = column


class Expression:
    """A parsed expression; made by `parse`.

    Attributes:
        text: As it was written.
        names: The attributes that it reads.
    """

    __slots__ = ("_closure", "names", "text")

    def __init__(self, text: str, names: frozenset[str], closure: _Closure) -> None:
        self.text = text
        self.names = names
        self._closure = closure

    def __repr__(self) -> str:
        return f"Expression({self.text!r})"

    def evaluate(self, values: Values) -> object:
        """Return the value for a record; never raises on what is in it.

        Args:
            values: Its attributes. An absent one reads as ``None``.

        Returns:
            What a record could hold, ``None`` where nothing can be computed.
        """
        try:
            return _storable(self._closure(values))
        except _FAILURES:
            return None


@lru_cache(maxsize=1024)
def parse(text: str) -> Expression:
    """Return an expression.

    Raises:
        ExpressionError: The text is none, or is beyond the limits on its size.
    """
    if len(text) > MAX_CHARACTERS:
        raise ExpressionError(f"longer than {MAX_CHARACTERS} characters", MAX_CHARACTERS + 1)
    tree = _tree(text)
    compiler = _Compiler(text)
    closure = compiler.compiled(tree, 1)
    return Expression(text, frozenset(compiler.names), closure)


def _tree(text: str) -> ast.expr:
    begin = len(text) - len(text.lstrip())
    if begin == len(text):
        raise ExpressionError("the expression is empty", 1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # a doubtful escape sequence is an error
            return ast.parse(_one_line(text).lstrip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        message = getattr(error, "msg", None) or "nested too deep"
        offset: int = getattr(error, "offset", None) or 0  # none: it ends too early
        column = begin + offset if offset else len(text) + 1
        raise ExpressionError(str(message), min(column, len(text) + 1)) from None


def _one_line(text: str) -> str:
    """Line breaks are spaces: nothing ends at them, and places are counted from the start."""
    return text.replace("\n", " ").replace("\r", " ")


class _Compiler:
    """Turns checked nodes into closures and collects the attributes that are read."""

    def __init__(self, text: str) -> None:
        self.names: set[str] = set()
        self._text = text
        self._nodes = 0
        self._kinds: Mapping[type[ast.expr], Callable[..., _Closure]] = {
            ast.Constant: self._constant,
            ast.Name: self._name,
            ast.UnaryOp: self._unary,
            ast.BinOp: self._binary,
            ast.BoolOp: self._boolean,
            ast.Compare: self._compare,
            ast.IfExp: self._conditional,
            ast.List: self._list,
            ast.Subscript: self._subscript,
            ast.Call: self._call,
            ast.JoinedStr: self._formatted,
        }

    def fail(self, node: ast.expr, message: str) -> NoReturn:
        # Python counts the bytes of what it was given.
        text = _one_line(self._text)
        given = text.lstrip().encode("utf-8", "replace")
        before = given[: node.col_offset].decode("utf-8", "replace")
        raise ExpressionError(message, len(text) - len(text.lstrip()) + len(before) + 1)

    def compiled(self, node: ast.expr, level: int) -> _Closure:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            self.fail(node, f"more than {MAX_NODES} parts")
        if level > MAX_LEVELS:
            self.fail(node, f"nested deeper than {MAX_LEVELS} levels")
        make = self._kinds.get(type(node))
        if make is None:
            self.fail(node, _refusal(node))
        return make(node, level + 1)

    def _all(self, nodes: Iterable[ast.expr], level: int) -> list[_Closure]:
        return [self.compiled(node, level) for node in nodes]

    def _constant(self, node: ast.Constant, level: int) -> _Closure:
        value = node.value
        if not isinstance(value, _CONSTANTS):
            self.fail(node, f"a {type(value).__name__} cannot be written here")
        if isinstance(value, int) and value.bit_length() > MAX_BITS:
            self.fail(node, "the number is too big")
        if isinstance(value, float) and not math.isfinite(value):
            self.fail(node, "the number is too big")
        if isinstance(value, str) and not _is_unicode(value):
            self.fail(node, "the string is not valid Unicode")
        return lambda values: value

    def _name(self, node: ast.Name, level: int) -> _Closure:
        name = node.id
        self.names.add(name)
        return lambda values: values.get(name)

    def _unary(self, node: ast.UnaryOp, level: int) -> _Closure:
        operation = UNARY.get(type(node.op))
        if operation is None:
            self.fail(node, "this operator is not known here")
        of = self.compiled(node.operand, level)
        return lambda values: operation(of(values))

    def _binary(self, node: ast.BinOp, level: int) -> _Closure:
        operation = ARITHMETIC.get(type(node.op))
        if operation is None:
            self.fail(node, "this operator is not known here; there are + - * / // % **")
        left = self.compiled(node.left, level)
        if isinstance(node.right, ast.Constant):
            self.compiled(node.right, level)  # for its checks
            constant = node.right.value
            return lambda values: operation(left(values), constant)
        right = self.compiled(node.right, level)
        return lambda values: operation(left(values), right(values))

    def _boolean(self, node: ast.BoolOp, level: int) -> _Closure:
        parts = self._all(node.values, level)
        *first, last = parts
        stops_at = isinstance(node.op, ast.Or)

        def evaluate(values: Values) -> object:
            for part in first:
                value = part(values)
                if bool(value) is stops_at:
                    return value
            return last(values)

        return evaluate

    def _compare(self, node: ast.Compare, level: int) -> _Closure:
        first = self.compiled(node.left, level)
        rest = self._all(node.comparators, level)
        links = [(COMPARISONS[type(one)], right) for one, right in zip(node.ops, rest, strict=True)]
        for operator, right in zip(node.ops, node.comparators, strict=True):
            if isinstance(operator, (ast.Is, ast.IsNot)) and not _is_singleton(right):
                self.fail(right, "`is` compares with None, True or False; use == else")
        if len(links) == 1:
            ((test, other),) = links
            return lambda values: test(first(values), other(values))

        def evaluate(values: Values) -> object:
            left = first(values)
            result: object = True
            for test, right in links:
                value = right(values)
                result = test(left, value)
                if not result:
                    return result
                left = value
            return result

        return evaluate

    def _conditional(self, node: ast.IfExp, level: int) -> _Closure:
        test, then, other = self._all((node.test, node.body, node.orelse), level)
        return lambda values: then(values) if test(values) else other(values)

    def _list(self, node: ast.List, level: int) -> _Closure:
        parts = self._all(node.elts, level)
        return lambda values: [part(values) for part in parts]

    def _subscript(self, node: ast.Subscript, level: int) -> _Closure:
        of = self.compiled(node.value, level)
        if not isinstance(node.slice, ast.Slice):
            at = self.compiled(node.slice, level)
            return lambda values: of(values)[at(values)]  # type: ignore[index]  # TypeError: None
        ends = [
            self.compiled(one, level) if one else _nothing
            for one in (node.slice.lower, node.slice.upper, node.slice.step)
        ]
        return lambda values: of(values)[slice(*(end(values) for end in ends))]  # type: ignore[index]  # TypeError: None

    def _call(self, node: ast.Call, level: int) -> _Closure:
        if node.keywords:
            self.fail(node, "arguments have no names here")
        parts = self._all(node.args, level)
        if isinstance(node.func, ast.Name):
            function = FUNCTIONS.get(node.func.id)
            if function is None:
                there = ", ".join(FUNCTIONS)
                self.fail(node, f"there is no function {node.func.id}; there are {there}")
            return lambda values: function(*(part(values) for part in parts))
        if not isinstance(node.func, ast.Attribute):
            self.fail(node, "only functions and methods of strings can be called")
        method = METHODS.get(node.func.attr)
        if method is None:
            there = ", ".join(METHODS)
            self.fail(node, f"there is no method {node.func.attr}; there are {there}")
        of = self.compiled(node.func.value, level)
        return lambda values: method(of(values), *(part(values) for part in parts))

    def _formatted(self, node: ast.JoinedStr, level: int) -> _Closure:
        parts: list[_Closure] = []
        for part in node.values:
            if isinstance(part, ast.FormattedValue):
                if part.format_spec is not None or part.conversion != -1:
                    self.fail(node, "a value in an f-string has no format here")
                parts.append(self.compiled(part.value, level))
            else:
                parts.append(self.compiled(part, level))
        return lambda values: joined([part(values) for part in parts])


def _nothing(values: Values) -> object:
    return None


def _is_singleton(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and (node.value is None or isinstance(node.value, bool))


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _refusal(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f'attributes of values are read by name: …["{node.attr}"]'
    names: dict[type[ast.expr], str] = {
        ast.Tuple: "a tuple (write a list)",
        ast.Dict: "a dictionary",
        ast.Set: "a set",
        ast.Lambda: "a lambda",
        ast.ListComp: "a comprehension",
        ast.SetComp: "a comprehension",
        ast.DictComp: "a comprehension",
        ast.GeneratorExp: "a comprehension",
        ast.Starred: "a * before a value",
        ast.NamedExpr: "an assignment",
    }
    return f"{names.get(type(node), type(node).__name__)} cannot be used here"


def _storable(value: object) -> object:
    """The value if a record could hold it, else ``None``."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, (str, bool, bytes, datetime, dict)):
        return value  # a dictionary can only come from the record as it is
    if isinstance(value, int):
        return value if value.bit_length() <= MAX_BITS else None
    if isinstance(value, (list, tuple)):
        return [_storable(item) for item in value]
    return None
