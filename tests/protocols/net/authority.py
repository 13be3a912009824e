"""Certificates for tests: one authority per process, files where a test wants them."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import trustme
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

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


def client_with(leaf: trustme.LeafCert) -> ssl.SSLContext:
    """A client that shows this certificate."""
    context = client_context()
    leaf.configure_cert(context)
    return context


def write_revoked(
    file: Path, *leaves: trustme.LeafCert, ca: trustme.CA | None = None, days: int = 1
) -> None:
    """Write the authority's list of certificates that are revoked.

    Args:
        file: Where.
        leaves: What is revoked.
        ca: Whose list; that of `authority` when not given.
        days: How long it is in force from now; below zero: it is out of date.
    """
    ca = ca or authority()
    key = load_pem_private_key(ca.private_key_pem.bytes(), None)
    assert isinstance(key, EllipticCurvePrivateKey)
    now = datetime.now(UTC)
    until = now + timedelta(days=days)
    since = min(now, until) - timedelta(days=1)
    issuer = x509.load_pem_x509_certificate(ca.cert_pem.bytes()).subject
    made = x509.CertificateRevocationListBuilder(issuer, since, until)
    for leaf in leaves:
        number = x509.load_pem_x509_certificate(leaf.cert_chain_pems[0].bytes()).serial_number
        one = x509.RevokedCertificateBuilder(number, since)
        made = made.add_revoked_certificate(one.build())
    file.write_bytes(made.sign(key, SHA256()).public_bytes(Encoding.PEM))
