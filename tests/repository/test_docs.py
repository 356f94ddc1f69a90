"""The documentation matches the code: links, settings, commands and examples."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command

from api.http.problems import PROBLEM_TYPES
from api.schemas.agent_files import read_agent
from domain.suites.scenario import parse_suite
from playhead.cli.main import app
from playhead.cli.settings import markdown
from playhead.cli.simulate import FileOrCommand
from playhead.config.settings import variable_names
from playhead.config.variables import COMMAND_LINE_VARIABLES, DOCKER_COMPOSE_VARIABLES

ROOT = Path(__file__).parents[2]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^ *```(?P<language>\w*)\n(?P<text>.*?)^ *```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^]]*\]\((?P<target>[^)\s]+)\)")

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def without_fences(text: str) -> str:
    return FENCE.sub("", text)


def fenced(text: str, language: str) -> Iterator[str]:
    """The code blocks of one language."""
    return (fence["text"] for fence in FENCE.finditer(text) if fence["language"] == language)


def anchors(text: str) -> set[str]:
    """The link anchors of a page's headings, as common renderers generate them."""
    headings = re.findall(r"^#+ (.+)$", without_fences(text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).lower().replace(" ", "-") for heading in headings}


def commands(text: str) -> set[str]:
    """The command lines of `playhead` that a page shows, as code in a line or in a block of shell."""
    blocks = "\n".join(fenced(text, "sh"))
    shown = [*re.findall(r"`([^`\n]+)`", without_fences(text)), *blocks.splitlines()]
    found = (re.match(r"(?:\s*[A-Z_]+=\S+)*\s*(?:\.venv/bin/)?playhead (?P<words>\S.*)", line) for line in shown)
    return {match["words"] for match in found if match}


def is_command(words: str) -> bool:
    """True if the words are an existing command with existing options."""
    command: Any = get_command(app)
    given = words.split("#", maxsplit=1)[0].split()
    while given and hasattr(command, "commands"):
        if isinstance(command, FileOrCommand) and given[0].endswith(".yaml"):
            given = [command.file_command, *given]
        names = given[0].split("|")
        if names[0].startswith("-"):
            break
        if not set(names) <= set(command.commands):
            return False
        command = command.commands[names[0]]
        given = given[1:]
    known = {"--help", *(option for parameter in command.params for option in parameter.opts)}
    return {word.split("=")[0] for word in given if word.startswith("-")} <= known


@every_page
def test_links_lead_somewhere(page: Path) -> None:
    for target in (match["target"] for match in LINK.finditer(without_fences(page.read_text()))):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        linked = (page.parent / path) if path else page
        assert linked.exists(), f"{page.name} links to {target}, which is not there"
        if anchor:
            assert anchor in anchors(linked.read_text()), f"{page.name} links to {target}, but there is no such heading"


@every_page
def test_settings_that_are_named_exist(page: Path) -> None:
    known = {*variable_names(), *COMMAND_LINE_VARIABLES, *DOCKER_COMPOSE_VARIABLES}
    named = set(re.findall(r"\bPLAYHEAD_[A-Z_]*[A-Z]\b", page.read_text()))
    assert named <= known, f"{page.name} names settings that do not exist: {sorted(named - known)}"


@every_page
def test_commands_that_are_shown_exist(page: Path) -> None:
    unknown = [words for words in commands(page.read_text()) if not is_command(words)]
    assert not unknown, f"{page.name} shows what `playhead` does not take: {unknown}"


@every_page
def test_make_targets_that_are_shown_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"(?:^|`)make ([a-z-]+)", page.read_text(), re.MULTILINE))
    assert named <= targets, f"{page.name} names make targets that do not exist: {sorted(named - targets)}"


@every_page
def test_agents_that_are_shown_are_valid(page: Path) -> None:
    for text in fenced(page.read_text(), "yaml"):
        if "\nnodes:" in text:
            read_agent(text.encode(), "yaml")


@every_page
def test_suites_that_are_shown_are_valid(page: Path) -> None:
    for text in fenced(page.read_text(), "yaml"):
        if "\nscenarios:" in text:
            parse_suite(yaml.safe_load(text))


@every_page
def test_tests_that_are_named_exist(page: Path) -> None:
    named = set(re.findall(r"`(tests/[\w/]+\.py)`", page.read_text()))
    missing = sorted(name for name in named if not (ROOT / name).exists())
    assert not missing, f"{page.name} names tests that do not exist: {missing}"


def test_the_table_of_settings_is_up_to_date() -> None:
    assert (ROOT / "docs" / "settings.md").read_text().endswith(f"-->\n\n{markdown()}"), (
        "docs/settings.md is behind the settings: replace what follows its comment with the output of "
        "`playhead settings --markdown`"
    )


def test_the_error_table_is_that_of_the_api() -> None:
    text = (ROOT / "docs" / "http.md").read_text()
    rows = re.findall(r"^\| (\d{3}) \| `(\w+)` \|", text, re.MULTILINE)
    assert {code: int(status) for status, code in rows} == {code: kind.status for code, kind in PROBLEM_TYPES.items()}


def test_the_picture_names_nothing_of_the_machine_it_was_made_on() -> None:
    picture = (ROOT / "docs" / "images" / "demo.svg").read_text().replace("http://www.w3.org/2000/svg", "")
    named = re.findall(r"(?:https?://|/(?:tmp|home|root|var|Users)\b)\S*", picture)
    assert not named, f"make the picture anew with docs/make_picture.py, and leave out what names {named}"
    assert "demo: ok" in picture.replace("&#160;", " ")
