"""Every error as the close code of a WebSocket that is open (RFC 6455 §7.4).

Before the upgrade errors are HTTP's. Total, because HTTP's table is.
"""

from __future__ import annotations

from typing import Final

from lyredb.errors import EngineClosed, ServerStopping
from lyredb.protocols.http.errors import sentence_of, status_of

SERVICE_RESTART: Final = 1012
TRY_AGAIN_LATER: Final = 1013
INTERNAL_ERROR: Final = 1011

_BY_STATUS: Final = {401: 3000, 403: 3003, 503: TRY_AGAIN_LATER}
"""3000 and 3003 are registered for unauthorized and forbidden."""
_MAX_REASON_BYTES: Final = 123
"""What a control frame has room for beside the code (RFC 6455 §5.5)."""


def close_code_of(error: Exception) -> int:
    """The code that tells why; reconnecting helps after 1012 and 1013."""
    if isinstance(error, ServerStopping | EngineClosed):
        return SERVICE_RESTART
    return _BY_STATUS.get(status_of(error), INTERNAL_ERROR)


def close_reason_of(error: Exception) -> str:
    """What a client may read of an error, as far as it goes into a close frame.

    Names of users and roles have up to 255 bytes, and stand in reasons.
    """
    return sentence_of(error).encode()[:_MAX_REASON_BYTES].decode(errors="ignore")
