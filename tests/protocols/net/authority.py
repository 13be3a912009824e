"""Certificates for tests: one authority per process, files where a test wants them."""

from __future__ import annotations

import ssl
from functools import cache
from pathlib import Path

import trustme

from lyredb.protocols.net.certificates import CertificateFiles


@cache
def authority() -> trustme.CA:
    return trustme.CA()


def write_server_files(
    folder: Path, ca: trustme.CA | None = None, *, clients: trustme.CA | None = None
) -> CertificateFiles:
    """Issue a certificate for this machine and write its files.

    Args:
        folder: Where.
        ca: Who issues it; that of `authority` when not given.
        clients: Whose certificates of clients are taken.
    """
    leaf = (ca or authority()).issue_cert("localhost", "127.0.0.1")
    leaf.private_key_pem.write_to_path(folder / "key.pem")
    (folder / "certificate.pem").write_bytes(
        b"".join(part.bytes() for part in leaf.cert_chain_pems)
    )
    (clients or authority()).cert_pem.write_to_path(folder / "authority.pem")
    names = ("certificate.pem", "key.pem", "authority.pem")
    return CertificateFiles(*(str(folder / name) for name in names))


def client_context(ca: trustme.CA | None = None, *, name: str = "") -> ssl.SSLContext:
    """A client that trusts the authority and may have a certificate with a common name."""
    context = ssl.create_default_context()
    (ca or authority()).configure_trust(context)
    if name:
        authority().issue_cert(f"{name}.example", common_name=name).configure_cert(context)
    return context
