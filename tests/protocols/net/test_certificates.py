"""The files for TLS: what is refused at the start, what a change does."""

from __future__ import annotations

import logging
import os
import ssl
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from lyredb.errors import SettingError
from lyredb.plugins.network import ClientCertificates
from lyredb.protocols.net.certificates import CertificateFiles, Certificates
from tests.protocols.net.authority import (
    authority,
    client_with,
    write_revoked,
    write_server_files,
)


def test_contexts_speak_tls_1_2_at_least(tmp_path: Path) -> None:
    context = Certificates(write_server_files(tmp_path)).context("false")()
    assert context.minimum_version.name == "TLSv1_2"


@pytest.mark.parametrize(
    ("files", "name"),
    [
        (CertificateFiles("", ""), "tls.certificate"),
        (CertificateFiles("/nowhere/c.pem", "/nowhere/k.pem"), "tls.certificate"),
    ],
)
def test_missing_files_are_named(files: CertificateFiles, name: str) -> None:
    with pytest.raises(SettingError, match=name):
        Certificates(files).context("false")


def test_a_key_of_another_certificate_is_refused(tmp_path: Path) -> None:
    files = write_server_files(tmp_path)
    trustme.CA().issue_cert("other").private_key_pem.write_to_path(files.private_key)
    with pytest.raises(SettingError, match="do not work"):
        Certificates(files).context("false")


def test_an_encrypted_key_is_refused_instead_of_asked_for(tmp_path: Path) -> None:
    """OpenSSL would read the password from the terminal and keep the server waiting."""
    files = write_server_files(tmp_path)
    key = load_pem_private_key(Path(files.private_key).read_bytes(), None)
    encrypted = key.private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")
    )
    Path(files.private_key).write_bytes(encrypted)
    with pytest.raises(SettingError, match="encrypted"):
        Certificates(files).context("false")


def test_clients_are_asked_only_with_an_authority(tmp_path: Path) -> None:
    files = write_server_files(tmp_path)
    without = CertificateFiles(files.certificate, files.private_key)
    with pytest.raises(SettingError, match=r"tls\.certificateAuthority"):
        Certificates(without).context("required")
    assert Certificates(files).context("required")().verify_mode.name == "CERT_REQUIRED"
    assert Certificates(files).context("true")().verify_mode.name == "CERT_OPTIONAL"


def test_new_files_give_a_new_context_and_unchanged_ones_do_not(tmp_path: Path) -> None:
    certificates = Certificates(write_server_files(tmp_path))
    context = certificates.context("false")
    first = context()
    assert not certificates.refresh()
    assert context() is first
    write_server_files(tmp_path)
    assert certificates.refresh()
    assert context() is not first


def test_a_file_that_is_not_set_never_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An empty path was looked at as the current directory: new contexts for each new file."""
    files = write_server_files(tmp_path)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    certificates = Certificates(CertificateFiles(files.certificate, files.private_key))
    certificates.context("false")
    Path("new").touch()
    os.utime(".", (1.0, 1.0))
    assert not certificates.refresh()


def test_a_broken_file_keeps_the_old_one_and_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = write_server_files(tmp_path)
    certificates = Certificates(files)
    context = certificates.context("false")
    first = context()
    Path(files.certificate).write_text("nonsense")
    with caplog.at_level(logging.ERROR, "lyredb.net"):
        assert not certificates.refresh()
        assert not certificates.refresh()
    assert context() is first
    assert len(caplog.records) == 1
    assert certificates.failed_reloads == 1
    write_server_files(tmp_path)
    assert certificates.refresh()


def test_a_successor_refuses_handshakes_until_its_files_work(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is told once, however often it is tried; the first start raises as ever."""
    files = with_list(tmp_path)
    leaf = authority().issue_cert("c.example", common_name="c")
    Path(files.revoked).unlink()
    with pytest.raises(SettingError, match="cannot be read"):
        Certificates(files).context("required")
    certificates = Certificates(files, may_wait=True)
    with caplog.at_level(logging.ERROR, "lyredb.net"):
        context = certificates.context("required")
        assert not certificates.refresh()
        assert not certificates.refresh()
    assert len(caplog.records) == 1
    assert "are refused" in caplog.text
    assert certificates.failed_reloads == 1
    with pytest.raises(ssl.SSLError):
        lets_in(context(), leaf)
    write_revoked(Path(files.revoked))
    assert certificates.refresh()
    assert lets_in(context(), leaf)
    Path(files.revoked).unlink()
    assert not certificates.refresh()
    assert lets_in(context(), leaf), "the old ones stay, now that there are some"


def test_a_successor_tries_files_that_look_as_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A right that comes back changes neither size nor time of a file."""
    files = write_server_files(tmp_path)
    certificates = Certificates(files, may_wait=True)

    def refuse(*_: object) -> None:
        raise SettingError("tls.certificate", "it cannot be read: Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(Certificates, "_load_certificate", refuse)
        certificates.context("false")
        assert not certificates.refresh()
    assert certificates.refresh()
    assert not certificates.refresh()


def with_list(folder: Path, *revoked: trustme.LeafCert, days: int = 1) -> CertificateFiles:
    """The files of a server that has a list of revoked certificates."""
    file = folder / "revoked.pem"
    write_revoked(file, *revoked, days=days)
    return replace(write_server_files(folder), revoked=str(file))


def lets_in(server: ssl.SSLContext, leaf: trustme.LeafCert) -> bool:
    """Shake hands in memory; tell whether the server takes the client's certificate."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = server.wrap_bio(to_server, to_client, server_side=True)
    theirs = client_with(leaf).wrap_bio(to_client, to_server, server_hostname="localhost")
    for _ in range(10):
        with suppress(ssl.SSLWantReadError):
            theirs.do_handshake()
        try:
            ours.do_handshake()
        except ssl.SSLWantReadError:
            continue
        except ssl.SSLCertVerificationError:
            return False
    return ours.getpeercert() is not None


def a_client(name: str) -> trustme.LeafCert:
    return authority().issue_cert(f"{name}.example", common_name=name)


@pytest.mark.parametrize("clients", ["true", "required"])
def test_a_revoked_certificate_is_refused_and_others_are_not(
    tmp_path: Path, clients: ClientCertificates
) -> None:
    good, bad = a_client("good"), a_client("bad")
    context = Certificates(with_list(tmp_path, bad)).context(clients)()
    assert lets_in(context, good)
    assert not lets_in(context, bad)


def test_a_new_list_counts_for_whoever_comes_after_it(tmp_path: Path) -> None:
    leaf = a_client("leaving")
    files = with_list(tmp_path)
    certificates = Certificates(files)
    context = certificates.context("required")
    assert lets_in(context(), leaf)
    write_revoked(Path(files.revoked), leaf)
    assert certificates.refresh()
    assert not lets_in(context(), leaf)


def test_a_list_that_is_out_of_date_lets_nobody_in(tmp_path: Path) -> None:
    """Who keeps an old list back cannot hide what was revoked since."""
    context = Certificates(with_list(tmp_path, days=-1)).context("required")()
    assert not lets_in(context, a_client("anybody"))


def test_a_list_of_another_authority_lets_nobody_in(tmp_path: Path) -> None:
    files = with_list(tmp_path)
    write_revoked(Path(files.revoked), ca=trustme.CA())
    assert not lets_in(Certificates(files).context("required")(), a_client("anybody"))


@pytest.mark.parametrize("text", ["", "nonsense", "a certificate"])
def test_a_file_without_a_list_is_refused(tmp_path: Path, text: str) -> None:
    """A certificate is read by the same call, and would leave every certificate unchecked."""
    files = with_list(tmp_path)
    if text == "a certificate":
        text = Path(files.authority).read_text()
    Path(files.revoked).write_text(text)
    with pytest.raises(SettingError, match=r"tls\.certificateRevocationList"):
        Certificates(files).context("required")
    Certificates(files).context("false")


def test_a_broken_list_keeps_the_old_one(tmp_path: Path) -> None:
    """A list that vanishes or breaks off does not let the revoked in again."""
    bad = a_client("bad")
    files = with_list(tmp_path, bad)
    certificates = Certificates(files)
    context = certificates.context("required")
    Path(files.revoked).write_text("")
    assert not certificates.refresh()
    Path(files.revoked).unlink()
    assert not certificates.refresh()
    assert certificates.failed_reloads == 2
    assert not lets_in(context(), bad)
