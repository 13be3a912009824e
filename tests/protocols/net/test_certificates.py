"""The files for TLS: what is refused at the start, what a change does."""

from __future__ import annotations

import logging
import os
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
from lyredb.protocols.net.certificates import CertificateFiles, Certificates
from tests.protocols.net.authority import write_server_files


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
