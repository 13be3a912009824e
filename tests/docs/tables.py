"""Tables of the docs that are made from code: ``python -m tests.docs.tables``.

They stand between marks in the pages; a test fails while a page has something else.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from inspect import getmembers, isclass

from lyredb import errors
from lyredb.protocols.http.errors import STATUSES, code_of
from lyredb.protocols.mqtt.errors import ANSWERS
from tests.docs.pages import DOCS

MADE = {"errors": "errors.md", "mqtt reasons": "mqtt.md"}
"""Names of the tables, and the pages that they stand in."""


def error_classes() -> list[type[errors.LyreError]]:
    """All classes of ``lyredb.errors``, each behind its base."""
    found = [one for _, one in getmembers(errors, isclass) if issubclass(one, errors.LyreError)]
    order = {one: number for number, one in enumerate(vars(errors).values()) if one in found}
    return sorted(found, key=order.__getitem__)


def table(name: str) -> str:
    """The lines of a table."""
    return "\n".join(_errors() if name == "errors" else _reasons())


def _errors() -> Iterable[str]:
    yield "| error | means | HTTP | code | PUBACK | end |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for one in error_classes():
        summary = (one.__doc__ or "").split("\n")[0].rstrip(".")
        answer = ANSWERS[one]
        codes = f"0x{answer.publish:02X} | 0x{answer.end:02X}"
        yield f"| `{one.__name__}` | {summary} | {STATUSES[one]} | `{code_of(one)}` | {codes} |"


def _reasons() -> Iterable[str]:
    yield "| errors | PUBACK | SUBACK | end | again |"
    yield "| --- | --- | --- | --- | --- |"
    groups: dict[object, list[str]] = {}
    for one in error_classes():
        groups.setdefault(ANSWERS[one], []).append(f"`{one.__name__}`")
    for one in error_classes():
        answer = ANSWERS[one]
        names = groups.pop(answer, None)
        if names is None:
            continue
        codes = (f"0x{code:02X}" for code in (answer.publish, answer.subscribe, answer.end))
        again = "" if answer.lasting else "yes"
        yield f"| {', '.join(names)} | {' | '.join(codes)} | {again} |"


def with_table(page: str, name: str) -> str:
    """A page's text with its table as it should be."""
    begin = f"<!-- begin: {name}; made by `python -m tests.docs.tables` -->"
    end = f"<!-- end: {name} -->"
    pattern = re.escape(begin) + ".*" + re.escape(end)
    text = (DOCS / page).read_text(encoding="utf-8")
    made = f"{begin}\n\n{table(name)}\n\n{end}"
    whole, count = re.subn(pattern, lambda _: made, text, flags=re.DOTALL)
    assert count == 1, f"{page} has no marks for the table {name}"
    return whole


def main() -> None:
    """Write all tables into their pages."""
    for name, page in MADE.items():
        (DOCS / page).write_text(with_table(page, name), encoding="utf-8")


if __name__ == "__main__":
    main()
