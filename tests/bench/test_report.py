"""The figures of a report follow from its rounds, and trouble cannot hide in them."""

from __future__ import annotations

import io
import json
from pathlib import Path

from rich.console import Console

from bench.report import show, write_json, write_page
from bench.result import Comparison, Figure, Report, Round, Side

FAST = Side("LyreDB", [Round(3_000, 1, 1.0, 0.5), Round(1_000, 1, 1.0, 0.5)])
SLOW = Side("mosquitto", [Round(250, 1, 0.5, 0.1)])


def comparison(subject: Side) -> Comparison:
    return Comparison("one to one", "deliveries", "payload 64 bytes", subject, SLOW, wanted=10)


def shown(report: Report) -> str:
    console = Console(file=io.StringIO())
    show(report, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_ratio_is_of_all_rounds_together() -> None:
    """4,000 in 2 CPU seconds beside 250 in half a second: four times."""
    assert comparison(FAST).ratio == 4


def test_loss_in_one_round_is_trouble_of_the_report_and_is_shown() -> None:
    """A good figure beside lost messages is a bad result."""
    lossy = Side("LyreDB", [*FAST.rounds, Round(1_000, 1, 1.0, trouble="2 lost")])
    report = Report("a machine", [comparison(lossy)])
    assert report.has_trouble
    assert "TROUBLE in one to one: LyreDB: 2 lost" in shown(report)


def test_a_server_that_did_not_start_has_no_ratio() -> None:
    """The peer's figure is still shown."""
    report = Report("a machine", [comparison(Side("LyreDB", [Round(trouble="ended with 1")]))])
    assert report.comparisons[0].ratio is None
    assert report.has_trouble
    assert "500" in shown(report)


def test_json_and_page_have_the_figures_with_their_conditions(tmp_path: Path) -> None:
    """A figure without conditions may not be quoted."""
    report = Report("a machine", [comparison(FAST)])
    write_json(report, tmp_path / "new" / "latest.json")
    write_page(report, tmp_path / "page.md")
    document = json.loads((tmp_path / "new" / "latest.json").read_text())
    assert (document["conditions"], document["comparisons"][0]["ratio"]) == ("a machine", 4)
    page = (tmp_path / "page.md").read_text()
    assert "| one to one | plain | mosquitto | 2,000 ±50% | 500 | 4.00x | 10x | NO |" in page
    assert "a machine" in page
    assert "payload 64 bytes" in page


def test_a_figure_that_misses_what_is_wanted_says_so(tmp_path: Path) -> None:
    """On the page as on the terminal."""
    figure = Figure("memory", "kB", "idle", 7.0, {"mosquitto": 1.5}, "at most 5 kB", is_met=False)
    report = Report("a machine", figures=[figure])
    write_page(report, tmp_path / "page.md")
    row = "| memory | kB | 7.00 | mosquitto 1.50 | at most 5 kB | NO |"
    assert row in (tmp_path / "page.md").read_text()
    assert "NO" in shown(report)
    assert not report.has_trouble


def test_both_forms_of_lyredb_are_rows_of_their_own_with_what_each_wants(tmp_path: Path) -> None:
    """What is wanted of the compiled form says nothing about the plain one."""
    compiled = Comparison(
        "one to one",
        "deliveries",
        "payload 64 bytes",
        Side("LyreDB compiled", [Round(6_000, 1, 1.0)]),
        SLOW,
        wanted=11,
        form="compiled",
    )
    write_page(Report("a machine", [comparison(FAST), compiled]), tmp_path / "page.md")
    page = (tmp_path / "page.md").read_text()
    assert "| one to one | plain | mosquitto | 2,000 ±50% | 500 | 4.00x | 10x | NO |" in page
    assert "| one to one | compiled | mosquitto | 6,000 | 500 | 12.00x | 11x | yes |" in page
    assert "LyreDB 2,000/s, mosquitto 250/s, LyreDB compiled 6,000/s" in page


def test_a_scenario_without_a_peer_has_a_rate_and_no_ratio() -> None:
    report = Report("a machine", [Comparison("SSE", "deliveries", "alone", FAST, None)])
    assert report.comparisons[0].ratio is None
    assert "2,000" in shown(report)
