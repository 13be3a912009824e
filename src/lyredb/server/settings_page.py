"""The settings table as a page of the docs: ``python -m lyredb.server.settings_page``.

Writes ``docs/settings.md``; a test fails while the page is not what this makes.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path

from lyredb.plugins.settings import AUTO, OFF, Setting
from lyredb.server.composition import settings_table

_INTRODUCTION = """\
# Settings

<!-- Made by `python -m lyredb.server.settings_page`; do not edit. -->

Every setting has a name for YAML files, a variable, and some have an option. A later
source wins: default, `config.yaml` in the application folder, the file of `--config`,
environment, option. In YAML a name may be nested or dotted:

```yaml
mqtt:
  network:
    port: 1883
http.port: 9926
```

Durations are written `500ms`, `20s`, `5m`, `12h` or `3d`, sizes `64kB`, `1MB` or `2GiB`;
a bare number is in seconds or bytes. Port 0 is any free port; the ready line says which.
A setting that does not exist, or a value that is not allowed, is an error that names the
key and what is allowed, and the server does not start. `SIGHUP` has `lyredb run` read its
files again (without a terminal; with one it is the terminal's end, and stops the server):
what can be changed then is marked, and for the rest the log says that it needs a restart.
"""

_UNITS = {
    "duration": ((86_400, "d"), (3600, "h"), (60, "m"), (1, "s"), (0.001, "ms")),
    "size": (
        (1024**4, "TiB"),
        (1024**3, "GiB"),
        (10**9, "GB"),
        (1024**2, "MiB"),
        (10**6, "MB"),
        (1024, "KiB"),
        (1000, "kB"),
    ),
}


def page(rows: Iterable[Setting]) -> str:
    """Return the page, in Markdown."""
    ordered = sorted(rows, key=lambda row: row.name.split(".")[0])
    sections = groupby(ordered, key=lambda row: row.name.split(".")[0])
    parts = [_INTRODUCTION]
    for group, members in sections:
        parts.append(f"\n## {group}\n")
        parts.extend(_entry(row) for row in members)
    return "".join(parts)


def default_text(row: Setting) -> str:
    """Return a row's default as one would write it."""
    if isinstance(row.default, bool):
        return str(row.default).lower()
    if row.default == "":
        return "empty"
    if row.kind == "count" and row.default == AUTO:
        return "auto"
    if row.kind == "port" and row.default == OFF:
        return "off"
    for unit, suffix in _UNITS.get(row.kind, ()):
        amount = float(row.default) / unit
        if row.default and amount >= 1 and amount == int(amount):
            return f"{int(amount)}{suffix}"
    return str(row.default)


def _entry(row: Setting) -> str:
    return "".join(f"{line}\n" for line in _lines(row))


def _lines(row: Setting) -> Iterator[str]:
    yield ""
    yield f"### `{row.name}`"
    yield ""
    yield row.sentence
    yield ""
    yield f"- Default: {default_text(row)}"
    yield f"- Allowed: {row.allowed}"
    option = f", option `{row.option}`" if row.option else ""
    yield f"- Variable `{row.variable}`{option}"
    if row.live:
        yield "- Can be changed while the server runs, by a reload (SIGHUP)"


def main(arguments: list[str]) -> None:
    """Write the page to the given file, or to ``docs/settings.md``."""
    target = Path(arguments[0]) if arguments else Path("docs/settings.md")
    target.write_text(page(settings_table().rows), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
