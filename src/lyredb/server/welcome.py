"""What ``lyredb dev`` answers at ``/`` while the application has no page there.

The first thing that somebody opens in a browser: which tables there are, and commands
that work on them as they are. ``lyredb run`` has nothing of the kind.
"""

from __future__ import annotations

import json
from html import escape
from typing import Final
from urllib.parse import quote

from lyredb.errors import NotAuthorised, UnsupportedOperation
from lyredb.protocols.http.accept import quality_of
from lyredb.protocols.http.authentication import Authentication
from lyredb.protocols.http.request import Request
from lyredb.security.authenticator import Authenticator
from lyredb.server.ready import Ready

PRIORITY: Final = -15
"""Below files, so that a page of the application wins; above open topics."""

_HEAD: Final = (
    b"content-type: %b\r\ncache-control: no-store\r\nvary: accept\r\n"
    b"content-security-policy: default-src 'none'; style-src 'unsafe-inline'; "
    b"frame-ancestors 'none'\r\n"
)
_PAGE: Final = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{name} · LyreDB</title>
<style>
  :root {{ color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }}
  body {{ max-width: 52rem; margin: 3rem auto; padding: 0 1rem; }}
  pre {{ border: 1px solid #8885; border-radius: .75rem; padding: 1rem; overflow-x: auto; }}
</style>
<h1>{name}</h1>
<p>LyreDB {version} serves this application to this machine alone. Put a page at
<code>web/index.html</code> and it is shown here instead.</p>
<h2>Tables</h2>
{tables}
<h2>Try</h2>
<pre>{commands}</pre>
"""


class Welcome:
    """Answers ``/``.

    Args:
        ready: The server.
        authentication: Nobody else's page may learn the tables' names.
    """

    def __init__(self, ready: Ready, authentication: Authentication) -> None:
        self._ready = ready
        self._authentication = authentication

    def wants(self, request: Request) -> bool:
        """Tell whether the request is for the root."""
        return not request.is_websocket and request.path == ""

    async def answer(self, request: Request) -> None:
        """Answer with a page for browsers, with JSON for everybody else."""
        if request.method not in ("GET", "HEAD"):
            raise UnsupportedOperation("this page can only be read", allowed=("GET", "HEAD"))
        if await self._authentication.authenticate(request) is Authenticator.anonymous:
            raise NotAuthorised("the tables are listed to this machine only")
        if quality_of(request.header(b"accept"), "text/html") > 0:
            request.respond(200, _HEAD % b"text/html; charset=utf-8", self._page().encode())
        else:
            request.respond(200, _HEAD % b"application/json", self._json().encode())

    def _page(self) -> str:
        ready = self._ready
        items = "\n".join(
            f'<li><a href="/{escape(quote(path))}/">{escape(path)}</a></li>'
            for path in ready.tables
        )
        return _PAGE.format(
            name=escape(ready.application),
            version=escape(ready.version),
            tables=f"<ul>\n{items}\n</ul>" if items else "<p>None that can be reached.</p>",
            commands=escape("\n".join(ready.tries())),
        )

    def _json(self) -> str:
        ready = self._ready
        tables = [{"path": path, "url": f"{ready.http}/{quote(path)}/"} for path in ready.tables]
        found = {
            "application": ready.application,
            "version": ready.version,
            "tables": tables,
            "try": ready.tries(),
        }
        return json.dumps(found, ensure_ascii=False, indent=2) + "\n"
