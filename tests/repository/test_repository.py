"""Checks of the repository: locked dependencies, packaged files, one version, numbered decisions."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml

from playhead.temporal.dev_server import DYNAMIC_CONFIG

ROOT = Path(__file__).parents[2]
CLIENT = ROOT / "clients" / "python"
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCKS = ["requirements.lock", "requirements-dev.lock", "benchmarks/peers/requirements.lock"]

PINNED = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)(?:\[[^]]*\])?==(?P<version>[^ ;\\]+)", re.MULTILINE)


def pins(lock: str) -> dict[str, str]:
    """The versions that a lock file installs, by package."""
    return {match["name"]: match["version"] for match in PINNED.finditer((ROOT / lock).read_text())}


PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_page_holds_the_marks_of_a_merge(page: Path) -> None:
    marks = re.findall(r"^(?:<{7}|={7}|>{7})(?: .*)?$", page.read_text(), re.MULTILINE)
    assert not marks, f"{page.name} was merged by half: {marks}"


def test_decisions_are_numbered_one_after_the_other() -> None:
    decisions = sorted((ROOT / "docs" / "decisions").glob("[0-9]*.md"))
    numbers = [int(decision.name[:4]) for decision in decisions]
    assert numbers == list(range(1, len(numbers) + 1)), "two branches took the same number: renumber the newer one"


def test_the_index_of_decisions_shows_their_titles_and_status() -> None:
    decisions = ROOT / "docs" / "decisions"
    index = re.findall(r"^\| \[\d+\]\((.+?)\) \| (.+) \| (.+) \|$", (decisions / "README.md").read_text(), re.MULTILINE)
    written = []
    for decision in sorted(decisions.glob("[0-9]*.md")):
        heading, _, status = decision.read_text().splitlines()[:3]
        written.append((decision.name, heading.partition(". ")[2], status.removeprefix("Status: ")))
    assert index == written, "docs/decisions/README.md is behind: change its table with the decision"


def listed_packages(project: Path) -> set[str]:
    """The packages that the wheel of a project contains."""
    return set(tomllib.loads((project / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])


@pytest.mark.parametrize("project", [ROOT, CLIENT], ids=["playhead", "playhead-client"])
def test_every_python_package_is_packaged(project: Path) -> None:
    listed = listed_packages(project)
    roots = {name for name in listed if "." not in name}
    found = {
        ".".join(init.parent.relative_to(project).parts)
        for root in roots
        for init in (project / root).rglob("__init__.py")
    }
    data_only = {name for name in found if name.startswith("store.migrations")}
    missing = found - data_only - listed
    assert not missing, f"{sorted(missing)} would be absent from the wheel: add to tool.setuptools.packages"


def test_both_distributions_have_one_version() -> None:
    client = tomllib.loads((CLIENT / "pyproject.toml").read_text())["project"]
    version = PYPROJECT["project"]["version"]
    assert client["version"] == version
    assert f"playhead-client=={version}" in PYPROJECT["project"]["dependencies"]


def test_every_dependency_of_the_client_is_locked() -> None:
    client = tomllib.loads((CLIENT / "pyproject.toml").read_text())["project"]
    names = {re.split(r"[\[<>=; ]", dependency)[0] for dependency in client["dependencies"]}
    assert names == {"httpx2", "pydantic"}
    assert names <= set(pins("requirements.lock"))


@pytest.mark.parametrize("lock", LOCKS)
def test_lock_files_name_no_host(lock: str) -> None:
    named = re.findall(
        r"^.*(?:[a-z]+://|--(?:extra-)?index-url|--find-links).*$", (ROOT / lock).read_text(), re.MULTILINE
    )
    assert not named, f"{lock} must install from whatever index its user has, but names one: {named[:3]}"


@pytest.mark.parametrize("lock", LOCKS)
def test_every_locked_package_has_a_hash(lock: str) -> None:
    blocks = re.split(r"^(?=[A-Za-z0-9])", (ROOT / lock).read_text(), flags=re.MULTILINE)[1:]
    unhashed = [block.split()[0] for block in blocks if "--hash=sha256:" not in block]
    assert blocks
    assert not unhashed, f"pip refuses {lock} as a whole because of {unhashed}; run make lock"


def test_tests_run_on_the_versions_that_are_deployed() -> None:
    tested = pins("requirements-dev.lock")
    differing = {name: (version, tested.get(name)) for name, version in pins("requirements.lock").items()}
    differing = {name: both for name, both in differing.items() if both[0] != both[1]}
    assert not differing, f"run and test locks disagree (deployed, tested): {differing}; run make lock"


def test_every_declared_dependency_is_locked() -> None:
    names = [re.split(r"[\[<>=; ]", dependency)[0] for dependency in PYPROJECT["project"]["dependencies"]]
    missing = set(names) - set(pins("requirements.lock")) - {"playhead-client"}  # it is built from this repository
    assert not missing, f"{sorted(missing)} declared but not locked; run make lock"


def test_a_server_of_its_own_is_as_prompt_as_the_embedded_one() -> None:
    """With one shard it has to look more often than with many, so only the names and the time are the same."""
    deployed = yaml.safe_load((ROOT / "deploy/temporal/dynamicconfig.yaml").read_text())
    assert DYNAMIC_CONFIG.keys() <= deployed.keys()
    lateness = "history.timerProcessorMaxTimeShift"
    assert deployed[lateness] == [{"value": DYNAMIC_CONFIG[lateness]}]
