"""The flags of ``lyredb pub`` and ``lyredb sub`` that say how to connect."""

from __future__ import annotations

import argparse

import pytest

from lyredb.cli import pub, sub


@pytest.mark.parametrize("made", [pub.parser(), sub.parser()], ids=["pub", "sub"])
@pytest.mark.parametrize("flag", ["--psk", "--psk-identity", "--proxy", "--tls-engine"])
def test_flags_of_mosquitto_that_are_not_there_are_named_and_refused(
    made: argparse.ArgumentParser, flag: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """None of them is taken for the beginning of another one."""
    assert flag in (made.epilog or "")
    assert flag in made.format_help()
    with pytest.raises(SystemExit) as ended:
        made.parse_args(["-t", "a", flag, "x"])
    assert ended.value.code == 2
    assert flag in capsys.readouterr().err
