"""Taking a port."""

from __future__ import annotations

import pytest

from lyredb.protocols.http import bind_socket


def test_second_server_on_a_port_is_refused_clearly() -> None:
    with bind_socket("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        with pytest.raises(OSError, match=rf"127\.0\.0\.1:{port} is in use by another server"):
            bind_socket("127.0.0.1", port)


def test_address_of_another_machine_is_refused_clearly() -> None:
    with pytest.raises(OSError, match=r"192\.0\.2\.1:0 is no address of this machine"):
        bind_socket("192.0.2.1", 0)
