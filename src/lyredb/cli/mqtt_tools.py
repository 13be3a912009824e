"""``lyredb pub``, ``lyredb sub``: MQTT clients for any broker.

Their options are read by argparse (`mqtt_options`), so typer passes everything on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import typer

_PASSED_ON: Final = {"allow_extra_args": True, "ignore_unknown_options": True}


class _Passing(typer.core.TyperCommand):
    """Leaves every argument to the command itself, ``--help`` too."""

    help_of: Callable[[], str]

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.allow_interspersed_args = False
        self.add_help_option = False

    def get_help(self, ctx: Any) -> str:
        """Return the help of the parser that reads the options."""
        return type(self).help_of().rstrip()


def _pub_help() -> str:
    from lyredb.cli.pub import parser

    return parser().format_help()


def _sub_help() -> str:
    from lyredb.cli.sub import parser

    return parser().format_help()


class _Pub(_Passing):
    help_of = staticmethod(_pub_help)


class _Sub(_Passing):
    help_of = staticmethod(_sub_help)


def pub(context: typer.Context) -> None:
    """Publish to an MQTT broker, with the flags of mosquitto_pub."""
    from lyredb.cli.pub import publish

    raise typer.Exit(publish(_given(context)))


def sub(context: typer.Context) -> None:
    """Print messages of an MQTT broker, with the flags of mosquitto_sub."""
    from lyredb.cli.sub import subscribe

    raise typer.Exit(subscribe(_given(context)))


def _given(context: typer.Context) -> Sequence[str]:
    return context.args


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(cls=_Pub, context_settings=_PASSED_ON)(pub)
    app.command(cls=_Sub, context_settings=_PASSED_ON)(sub)
