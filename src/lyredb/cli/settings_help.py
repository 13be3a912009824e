"""Help of options that are settings: taken from the settings table when it is shown."""

from __future__ import annotations

import typer
from typer.core import TyperCommand, TyperOption


class CommandWithSettings(TyperCommand):
    """A command some of whose options are rows of the settings table."""

    def get_help(self, ctx: typer.Context) -> str:  # type: ignore[override]  # typer's own class
        """Fill in each option's sentence and default, then format as usual."""
        from lyredb.server.composition import settings_table
        from lyredb.server.settings_page import default_text

        rows = {row.option: row for row in settings_table().rows if row.option}
        for parameter in self.params:
            if isinstance(parameter, TyperOption) and parameter.opts[0] in rows:
                row = rows[parameter.opts[0]]
                text = row.sentence.replace("`", "")
                parameter.help = f"{text} [{default_text(row)}; {row.variable}]"
        return super().get_help(ctx)
