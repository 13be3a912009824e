"""A server that listens on all of its ports: TCP and TLS, HTTP and HTTPS."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from tests.e2e.server_process import SCHEMA, ServerProcess, running_server
from tests.protocols.net.authority import write_server_files


def secure_environment(folder: Path, *, mtls: str = "false") -> dict[str, str]:
    """The settings of a server with TLS ports; its certificate lies in a folder."""
    files = write_server_files(folder)
    return {
        "LYREDB_HTTP_SECURE_PORT": "0",
        "LYREDB_MQTT_NETWORK_SECURE_PORT": "0",
        "LYREDB_TLS_CERTIFICATE": files.certificate,
        "LYREDB_TLS_PRIVATE_KEY": files.private_key,
        "LYREDB_TLS_CERTIFICATE_AUTHORITY": files.authority,
        "LYREDB_HTTP_MTLS": mtls,
        "LYREDB_MQTT_NETWORK_MTLS": mtls,
    }


@contextmanager
def secure_server(folder: Path, *, mtls: str = "false", **more: str) -> Iterator[ServerProcess]:
    environment = secure_environment(folder, mtls=mtls)
    with running_server(SCHEMA, environment=environment | more) as server:
        yield server


def port_of(server: ServerProcess, scheme: str) -> int:
    port = urlsplit(str(server.ready[scheme])).port
    assert port is not None
    return port
