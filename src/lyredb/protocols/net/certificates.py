"""The server's certificate, and contexts for TLS made of it; again when the files change.

A context is made for each connection's listener and never changed: whoever has shaken hands
goes on with what was valid then, and the next connection gets the new files.

A worker that is started again where files have ceased to work has no old ones to go on with.
It serves all other ports and refuses handshakes until the files work.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias, cast

from lyredb.errors import SettingError
from lyredb.plugins.network import ClientCertificates
from lyredb.plugins.scope import Settings
from lyredb.plugins.settings import OFF

LOOK_S: Final = 2.0
"""How often the files are looked at: one `stat` each."""

logger: Final = logging.getLogger("lyredb.net")

_Seen: TypeAlias = tuple[tuple[int, int, int] | None, ...]
_VERIFY: Final = {
    "false": ssl.CERT_NONE,
    "true": ssl.CERT_OPTIONAL,
    "required": ssl.CERT_REQUIRED,
}


@dataclass(frozen=True, slots=True)
class CertificateFiles:
    """Paths of PEM files, ``""`` for none."""

    certificate: str
    private_key: str
    authority: str = ""
    revoked: str = ""

    @classmethod
    def of(cls, settings: Settings) -> CertificateFiles:
        """Read them from the settings in force."""
        return cls(
            settings.text("tls.certificate"),
            settings.text("tls.privateKey"),
            settings.text("tls.certificateAuthority"),
            settings.text("tls.certificateRevocationList"),
        )


class Certificates:
    """Contexts by what is asked of clients.

    Args:
        files: Where the certificate is.
        may_wait: They worked once: files that do not now are waited for, not an error.
    """

    def __init__(self, files: CertificateFiles, *, may_wait: bool = False) -> None:
        self._files = files
        self._may_wait = may_wait
        self._lack = ""  # why handshakes are refused
        self._contexts: dict[ClientCertificates, ssl.SSLContext] = {}
        self._seen: _Seen = ()
        self.failed_reloads = 0

    def context(self, clients: ClientCertificates) -> Callable[[], ssl.SSLContext]:
        """Return what gives the context of this moment.

        Raises:
            SettingError: The files are missing or wrong, and are not waited for.
        """
        if clients not in self._contexts:
            self._seen = self._seen or self._look()
            try:
                self._contexts[clients] = self._make(clients)
            except SettingError as error:
                if not self._may_wait:
                    raise
                self._contexts[clients] = _refusing()
                self._note_lack(error)
        return lambda: self._contexts[clients]

    def _note_lack(self, error: SettingError) -> None:
        if str(error) != self._lack:
            self._lack = str(error)
            self.failed_reloads += 1
            logger.error(
                "the files for TLS do not work, connections with TLS are refused until they do: %s",
                error,
            )

    def refresh(self) -> bool:
        """Take new files, if they are new and right; what is wrong is logged once.

        Returns:
            True when later connections get something new.
        """
        seen = self._look()  # before reading: what changes meanwhile is seen the next time
        # What is waited for may begin to work unseen, as by `chmod`: it is tried each time.
        if not self._contexts or (seen == self._seen and not self._lack):
            return False
        self._seen = seen
        try:
            made = {clients: self._make(clients) for clients in self._contexts}
        except SettingError as error:
            if self._lack:
                self._note_lack(error)
                return False
            self.failed_reloads += 1
            logger.error("the files for TLS changed and do not work, the old stay: %s", error)
            return False
        self._contexts = made
        self._lack = ""
        logger.info("the files for TLS changed; new connections get them")
        return True

    def _look(self) -> _Seen:
        files = self._files
        paths = (files.certificate, files.private_key, files.authority, files.revoked)
        return tuple(map(_look_at, paths))

    def _make(self, clients: ClientCertificates) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        # A client could have a server that has no use for it work at each one.
        context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
        self._load_certificate(context)
        context.verify_mode = _VERIFY[clients]
        if clients != "false":
            self._load_authority(context)
            if self._files.revoked:
                self._load_revoked(context)
        return context

    def _load_certificate(self, context: ssl.SSLContext) -> None:
        files = self._files
        for name, path in (
            ("tls.certificate", files.certificate),
            ("tls.privateKey", files.private_key),
        ):
            if not path:
                raise SettingError(name, "got '', but a port for TLS is set", allowed="a PEM file")
            _require_readable(name, path)
        try:
            context.load_cert_chain(files.certificate, files.private_key, _no_password)
        except (ssl.SSLError, ValueError) as error:
            raise SettingError(
                "tls.certificate",
                f"{files.certificate} and the key {files.private_key} do not work: {error}",
                allowed="a certificate and its own key, PEM, the key unencrypted",
            ) from error

    def _load_authority(self, context: ssl.SSLContext) -> None:
        name, path = "tls.certificateAuthority", self._files.authority
        if not path:
            raise SettingError(
                name, "got '', but certificates of clients are asked for", allowed="a PEM file"
            )
        _require_readable(name, path)
        try:
            context.load_verify_locations(path)
        except ssl.SSLError as error:
            raise SettingError(
                name, f"{path} does not work: {error}", allowed="certificates, PEM"
            ) from error

    def _load_revoked(self, context: ssl.SSLContext) -> None:
        """Have each client's certificate looked up in the list of its authority.

        The leaf only: a list for the chain would have to be there for every authority in it.
        """
        name, path = "tls.certificateRevocationList", self._files.revoked
        _require_readable(name, path)
        before = context.cert_store_stats()["crl"]
        try:
            context.load_verify_locations(path)
        except ssl.SSLError as error:
            raise SettingError(
                name, f"{path} does not work: {error}", allowed="lists of revoked certificates, PEM"
            ) from error
        if context.cert_store_stats()["crl"] == before:
            raise SettingError(
                name, f"{path} holds no list", allowed="lists of revoked certificates, PEM"
            )
        context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF


def _refusing() -> ssl.SSLContext:
    """A context with no certificate: no handshake succeeds, and clients get an alert."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def require_secure_port(settings: Settings, protocol: str) -> None:
    """See that somebody is asked for the certificates that clients are to show.

    Args:
        settings: In force.
        protocol: What its settings begin with, such as ``http``.

    Raises:
        SettingError: The protocol has no port for TLS: its plain port asks nobody.
    """
    wanted = settings.text(f"{protocol}.mtls")
    if wanted != "false" and settings.integer(f"{protocol}.securePort") == OFF:
        raise SettingError(
            f"{protocol}.mtls",
            f"got {wanted!r}, but {protocol}.securePort is off, and no other port asks for "
            "certificates",
            allowed=f"false, or a number for {protocol}.securePort",
        )


def _require_readable(name: str, path: str) -> None:
    try:
        Path(path).read_bytes()
    except OSError as error:
        raise SettingError(name, f"{path} cannot be read: {error.strerror}") from error


def _look_at(path: str) -> tuple[int, int, int] | None:
    if not path:
        return None  # `Path("")` would be the current directory, which changes all the time
    try:
        seen = Path(path).stat()
    except OSError:
        return None  # gone, or not to be read: said when it is loaded
    return seen.st_mtime_ns, seen.st_size, seen.st_ino


def _no_password() -> bytes:
    """Keep OpenSSL from asking the terminal for the password of an encrypted key."""
    raise ValueError("the key is encrypted")


def common_name(ssl_object: ssl.SSLObject) -> str:
    """Return the common name of the peer's certificate, which was verified.

    ``""`` without a certificate, and for one with no or several common names: it does not
    say which one is meant.
    """
    certificate = ssl_object.getpeercert() or {}
    subject = cast("Iterable[Iterable[tuple[str, str]]]", certificate.get("subject", ()))
    names = [value for part in subject for name, value in part if name == "commonName"]
    return names[0] if len(names) == 1 else ""
