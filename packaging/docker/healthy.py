"""The container's health check: exits with 0 while ``/health`` answers 200.

Apart from LyreDB on purpose, and with Python's standard library alone: it runs every ten
seconds for as long as the container lives, and importing LyreDB costs half a second of CPU
each time. A full disk is answered with 200 (degraded): a restart would not help.
"""

from __future__ import annotations

import http.client
import os
import sys

TIMEOUT_S = 4.0
DEFAULT_PORT = 9925


def main() -> int:
    """Ask the operations port of this container."""
    port = int(os.environ.get("LYREDB_OPERATIONS_API_NETWORK_PORT", DEFAULT_PORT))
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", "/health")
        answer = connection.getresponse()
        print(answer.read(500).decode("utf-8", "replace"))
    except (OSError, http.client.HTTPException) as error:
        print(f"no answer on port {port}: {error}", file=sys.stderr)
        return 1
    finally:
        connection.close()
    return 0 if answer.status == 200 else 1


if __name__ == "__main__":
    sys.exit(main())
