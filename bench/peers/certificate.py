"""A certificate for ``localhost``, made for one run: all servers use the same."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import trustme


@dataclass(frozen=True, slots=True)
class Certificate:
    """Files in PEM: what a server shows, its key, and whom clients trust."""

    chain: Path
    key: Path
    authority: Path


def make_certificate(folder: Path) -> Certificate:
    """Make an authority and a certificate (ECDSA P-256) in ``folder``, or find them there."""
    files = Certificate(folder / "chain.pem", folder / "key.pem", folder / "authority.pem")
    if not files.authority.exists():
        authority = trustme.CA()
        issued = authority.issue_cert("localhost", "127.0.0.1")
        files.chain.write_bytes(b"".join(each.bytes() for each in issued.cert_chain_pems))
        issued.private_key_pem.write_to_path(str(files.key))
        authority.cert_pem.write_to_path(str(files.authority))
    return files
