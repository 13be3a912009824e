"""The house keeps its own rules: commands, records, glossary, fragments, sizes."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES_WITH_COMMANDS = ("README.md", "CONTRIBUTING.md", "docs/tutorial.md")
FRAGMENT_KINDS = {"added", "changed", "fixed", "removed", "deprecated", "security"}
RECORD_HEADINGS = [
    "Status",
    "Question",
    "Forces",
    "Options tried",
    "Decision",
    "What it costs",
    "What would make us change it",
]
MAX_MODULE_LINES = 500


def read(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


def project() -> dict[str, Any]:
    return tomllib.loads(read("pyproject.toml"))


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z]+):", read("Makefile"), flags=re.MULTILINE))


def design_records() -> list[Path]:
    return sorted((ROOT / "docs/design").glob("[0-9]*.md"))


def glossary_terms() -> list[str]:
    return re.findall(r"^- \*\*(.+?)\*\*: ", read("docs/glossary.md"), flags=re.MULTILINE)


def code_blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", read(page), flags=re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", PAGES_WITH_COMMANDS)
def test_every_make_command_of_a_page_is_a_target(page: str) -> None:
    """A reader who copies a command gets what the page says."""
    in_code = re.findall(r"^make ([a-z]+)|`make ([a-z]+)", read(page), flags=re.MULTILINE)
    named = {first or second for first, second in in_code}
    assert named, f"{page} names no make target; take it off the list"
    assert named <= make_targets()


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"])
def test_relative_links_of_root_pages_lead_to_files(page: str) -> None:
    """mkdocs checks the links inside docs/; nothing else checks these."""
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", read(page))
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_example_applications_that_pages_start_exist() -> None:
    """`lyredb dev examples/...` in a page names a folder with a schema."""
    for page in PAGES_WITH_COMMANDS:
        for app in re.findall(r"lyredb (?:dev|run) (examples/\w+)", read(page)):
            schemas = [*(ROOT / app).glob("*.graphql"), *(ROOT / app).glob("tables.py")]
            assert schemas, f"{page} starts {app}, which has no schema"


def test_schema_in_the_tutorial_is_the_file_it_quotes() -> None:
    """The tutorial's schema and the file that its commands start stay the same."""
    assert code_blocks("docs/tutorial.md", "graphql") == [read("examples/sensor/schema.graphql")]


@pytest.mark.parametrize("page", ["README.md", "docs/tutorial.md"])
def test_python_example_of_a_page_runs_as_printed(page: str, tmp_path: Path) -> None:
    """Copied into an empty folder the code runs, prints the value and ends."""
    (source,) = code_blocks(page, "python")
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", source],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 0, done.stderr
    assert "kitchen" in done.stdout
    assert "21.5" in done.stdout


@pytest.mark.parametrize("record", design_records(), ids=lambda record: record.name)
def test_design_record_has_the_sections_of_the_template(record: Path) -> None:
    """Every record answers the same questions in the same order; others may stand between."""
    headings = re.findall(r"^## (.+)$", record.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert [heading for heading in headings if heading in RECORD_HEADINGS] == RECORD_HEADINGS


def test_template_has_the_sections_that_records_are_checked_for() -> None:
    """Whoever copies the template passes the check."""
    headings = re.findall(r"^## (.+)$", read("docs/design/template.md"), flags=re.MULTILINE)
    assert headings == RECORD_HEADINGS


def test_design_records_are_numbered_without_gaps_and_indexed() -> None:
    """The index lists each record once, in order, and two never share a number."""
    names = [record.name for record in design_records()]
    assert [int(name[:4]) for name in names] == list(range(1, len(names) + 1))
    index = read("docs/design/README.md")
    assert re.findall(r"\]\((\d{4}-[a-z0-9-]+\.md)\)", index) == names


def test_glossary_terms_are_sorted_and_unique() -> None:
    """One word for one thing, and found where one looks for it."""
    terms = glossary_terms()
    assert len(terms) == read("docs/glossary.md").count("\n- "), "an entry is not `- **term**: ...`"
    assert terms == sorted(set(terms), key=str.casefold)


def test_changelog_fragments_have_a_known_kind_and_say_something() -> None:
    """A release finds the heading for every fragment."""
    for fragment in sorted((ROOT / "changelog.d").iterdir()):
        if fragment.name == "README.md":
            continue
        match = re.fullmatch(r"[a-z0-9]+(?:-[a-z0-9]+)*\.([a-z]+)\.md", fragment.name)
        assert match, f"{fragment.name} is not <slug>.<kind>.md"
        assert match[1] in FRAGMENT_KINDS, fragment.name
        assert fragment.read_text(encoding="utf-8").strip(), f"{fragment.name} is empty"


def test_no_module_is_longer_than_a_reader_can_hold() -> None:
    """At 500 lines a module has two jobs: split it."""
    lengths = {
        str(module.relative_to(ROOT)): len(module.read_text(encoding="utf-8").splitlines())
        for module in (ROOT / "src").rglob("*.py")
    }
    assert {name: n for name, n in lengths.items() if n > MAX_MODULE_LINES} == {}


def test_no_module_has_a_name_that_says_nothing() -> None:
    """A thing without a name of its own has no home yet."""
    empty_names = {"utils", "helpers", "common", "base", "manager", "core", "misc"}
    modules = [*(ROOT / "src").rglob("*.py"), *(ROOT / "tests").rglob("*.py")]
    places = [part for module in modules for part in (module, module.parent)]
    assert sorted({str(place) for place in places if place.stem in empty_names}) == []


def test_apt_list_is_one_package_a_line() -> None:
    """The installer reads one Debian package name per line, with an optional comment."""
    lines = [line for line in read("apt.txt").splitlines() if not line.startswith("#")]
    packages = [line.split("#")[0].strip() for line in lines]
    assert all(re.fullmatch(r"[a-z0-9][a-z0-9+.-]+", package) for package in packages)
    assert len(packages) == len(set(packages))


def test_every_protocol_entry_point_names_a_module_of_its_own_room() -> None:
    """The group finds our own protocols, each in `lyredb.protocols.<name>`."""
    entry_points = project()["project"]["entry-points"]["lyredb.protocols"]
    for name, target in entry_points.items():
        module, _, attribute = target.partition(":")
        assert module == f"lyredb.protocols.{name}.plugin"
        assert attribute
        assert (ROOT / "src" / f"{module.replace('.', '/')}.py").exists(), f"{module} is missing"


def test_every_dependency_has_a_lower_and_an_upper_bound() -> None:
    """A breaking release of somebody else's package never reaches an install of ours."""
    tables = project()["project"]
    extras = tables["optional-dependencies"].values()
    required = [*tables["dependencies"], *(line for extra in extras for line in extra)]
    assert [line for line in required if not re.search(r">=[\d.]+,<[\d.]+$", line)] == []


def test_rooms_in_parentheses_have_no_code() -> None:
    """import-linter skips a missing room in parentheses; a room with code loses them."""
    contracts = project()["tool"]["importlinter"]["contracts"]
    for contract in contracts:
        (container,) = contract.get("containers", [None])
        layers = " | ".join(contract.get("layers", []))
        for room in re.findall(r"\((\w+)\)", layers):
            path = ROOT / "src" / str(container).replace(".", "/") / room
            assert not path.exists(), f"take the parentheses off {container}.{room}"


def test_continuous_integration_runs_the_targets_people_run() -> None:
    """The workflow and `.ci/run` call make targets, not commands of their own."""
    commands = re.findall(r"^\s*(?:if )?make ([a-z]+)", read(".ci/run"), flags=re.MULTILINE)
    assert commands == ["lint", "test"]
    assert set(commands) <= make_targets()
    assert ".ci/run" in read(".github/workflows/ci.yml")
