"""Both wheels, built and installed in bare environments: the application starts, and the client uses it.

Neither environment sees the checkout or this one's packages: besides its wheel each holds links to the distributions
that the wheel's metadata requires, and to theirs, at the versions installed here (the locked ones). So a file that is
missing from a wheel and a dependency that is not declared are found, without a network and in seconds. That a package
index has these versions, and that another platform can install them, is not checked.
"""

import json
import re
import shutil
import signal
import subprocess
import sys
import venv
from collections.abc import Callable, Iterable
from importlib.metadata import Distribution, distribution
from pathlib import Path
from zipfile import ZipFile

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from api.page.files import BUILT, INDEX, PageFiles
from api.page.routes import NOT_BUILT
from tests.e2e.processes import DevStack, Ports, environment_of, until_gone

ROOT = Path(__file__).parents[2]
OURS = {"playhead", "playhead-client"}
PACKAGES = ("activities", "api", "contracts", "domain", "playhead", "store", "streaming", "workflows")
"""Top-level packages of the application."""
MOVED = {"deploy": "playhead/deploy", "examples": "playhead/examples"}
"""Folders of the repository that are elsewhere in the wheel."""

CONVERSATION = """
import importlib.util, json, sys
import playhead_client
from playhead_client import Playhead, ReplyDelta

with Playhead(sys.argv[1]) as playhead:
    session = playhead.sessions.open("booking-line", initial_context={"first_name": "Ada"})
    greeting = session.reply
    events = [*playhead.sessions.stream(session.id, "A table for four on Friday, please.")]
    session = playhead.sessions.get(session.id)
print(json.dumps({
    "greeting": greeting,
    "reply": session.reply,
    "streamed": "".join(event.data.text for event in events if isinstance(event.data, ReplyDelta)),
    "file": playhead_client.__file__,
    "visible": [name for name in sys.argv[2:] if importlib.util.find_spec(name)],
}))
"""


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The wheels by the names of their distributions, built from the files that the image is built from."""
    source, built = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheels")
    leave_out = shutil.ignore_patterns("__pycache__", "*.egg-info", "build", "node_modules")
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        name = line.removeprefix("!")
        if line.startswith("!") and (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, ignore=leave_out)
        elif line.startswith("!"):
            shutil.copy(ROOT / name, source / name)
    pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", built, "./clients/python", ".", folder=source)
    found: dict[str, Path] = {canonicalize_name(wheel.name.partition("-")[0]): wheel for wheel in built.glob("*.whl")}
    assert set(found) == OURS
    return found


@pytest.fixture(scope="module")
def installed(wheels: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Makes an environment of some of our distributions and all that these require; returns its folder of programs."""

    def make(*names: str) -> Path:
        folder = tmp_path_factory.mktemp(names[0])
        venv.create(folder, symlinks=True)
        programs = folder / "bin"
        pip("install", "--no-deps", *(wheels[name] for name in names), python=programs / "python", folder=folder)
        (packages,) = folder.glob("lib/python*/site-packages")
        for required in requirements_of(Distribution.at(info) for info in packages.glob("*.dist-info")):
            for entry in entries_of(required):
                (packages / entry.name).symlink_to(entry)
            for program in programs_of(required):
                (programs / program.name).symlink_to(program)
        pip("check", python=programs / "python", folder=folder)
        return programs

    return make


def pip(command: str, *arguments: str | Path, folder: Path, python: Path | None = None) -> None:
    """Run pip of this environment, on another one if it is given, without a network."""
    of = ["--python", str(python)] if python else []
    offline = ["--no-index"] if command != "check" else []
    done = subprocess.run(
        [sys.executable, "-m", "pip", *of, command, *offline, *map(str, arguments)],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"


def requirements_of(distributions: Iterable[Distribution]) -> list[Distribution]:
    """The distributions of this environment that these require, and that those require, with the extras they name."""
    pending = [(each, "") for each in distributions]
    found: dict[str, Distribution] = {}
    seen = {(each.metadata["Name"], "") for each, _ in pending}
    while pending:
        each, extra = pending.pop()
        for requirement in map(Requirement, each.requires or ()):
            if requirement.marker is not None and not requirement.marker.evaluate({"extra": extra}):
                continue
            name = canonicalize_name(requirement.name)
            if name in OURS:
                continue
            found.setdefault(name, distribution(name))
            for wanted in {(name, ""), *((name, named) for named in requirement.extras)} - seen:
                seen.add(wanted)
                pending.append((found[name], wanted[1]))
    return [*found.values()]


def entries_of(installed: Distribution) -> set[Path]:
    """The files and folders of a distribution directly in this environment's folder of packages."""
    assert installed.files
    names = {file.parts[0] for file in installed.files}
    entries = {Path(str(installed.locate_file(name))) for name in names - {"..", "__pycache__"}}
    return {entry for entry in entries if entry.suffix != ".pth"}


def programs_of(installed: Distribution) -> set[Path]:
    """The compiled programs of a distribution; scripts would run with the packages of this environment."""
    assert installed.files
    outside = (Path(str(installed.locate_file(file))) for file in installed.files if file.parts[0] == "..")
    return {path for path in outside if path.parent.name == "bin" and not path.read_bytes().startswith(b"#!")}


def test_the_wheel_of_the_client_holds_its_package_alone(wheels: dict[str, Path]) -> None:
    tops = {name.split("/")[0] for name in ZipFile(wheels["playhead-client"]).namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"playhead_client"}
    assert "playhead_client/py.typed" in ZipFile(wheels["playhead-client"]).namelist()


def test_the_wheel_of_the_application_holds_every_file_of_its_folders(wheels: dict[str, Path]) -> None:
    packaged = set(ZipFile(wheels["playhead"]).namelist())
    listed = subprocess.run(
        ["git", "ls-files", *PACKAGES, *MOVED], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    parts = (name.partition("/") for name in listed)
    expected = {f"{MOVED.get(top, top)}/{rest}" for top, _, rest in parts}
    missing = {name for name in expected - packaged if not name.endswith(".md")}
    assert expected
    assert not missing, f"add to tool.setuptools.package-data in pyproject.toml: {sorted(missing)}"


def test_the_wheel_of_the_application_carries_the_page_as_it_was_built(wheels: dict[str, Path]) -> None:
    packaged = {name for name in ZipFile(wheels["playhead"]).namelist() if name.startswith("api/page/built/")}
    built = {f"api/page/built/{path.relative_to(BUILT).as_posix()}" for path in BUILT.rglob("*") if path.is_file()}
    assert packaged == built


def serves_the_page(stack: DevStack) -> None:
    """The root is the page with its scripts, or, where this checkout has none, says how to build it."""
    index = PageFiles().find(INDEX)
    answer = stack.http.get("/")
    assert answer.status_code == 200
    if index is None:
        assert answer.text == NOT_BUILT
        return
    assert answer.content == index.content
    scripts = re.findall(r'(?:src|href)="/(assets/[^"]+)"', answer.text)
    assert scripts
    for name in scripts:
        asset = stack.http.get(f"/{name}")
        assert asset.status_code == 200, name
        assert asset.headers["content-encoding"] in ("br", "gzip"), name
    assert stack.http.get("/sessions/ses_any?turn=turn_any").content == index.content


@pytest.mark.timeout(300)
def test_both_run_from_their_wheels_in_environments_of_their_own(
    installed: Callable[..., Path], tmp_path: Path
) -> None:
    application, client = installed("playhead", "playhead-client"), installed("playhead-client")
    ports = Ports.free()
    environment = {name: value for name, value in environment_of(tmp_path).items() if not name.startswith("PYTHON")}
    empty = tmp_path / "empty"
    empty.mkdir()
    with (tmp_path / "stderr.log").open("w") as log:
        process = subprocess.Popen(
            [application / "playhead", "dev", "--json", *ports.options],
            cwd=empty,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    stack = DevStack(tmp_path, ports, process)
    try:
        assert "booking-line" in stack.until_ready()["agents"]
        assert stack.http.get("/readyz").status_code == 200
        serves_the_page(stack)
        done = subprocess.run(
            [client / "python", "-c", CONVERSATION, str(stack.http.base_url), *PACKAGES],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        talk = json.loads(done.stdout)
        assert talk["greeting"] == "Hello Ada, this is Osteria Fiorella. How can I help you?"
        assert talk["reply"]
        assert talk["streamed"] == talk["reply"]
        assert talk["file"].startswith(str(client.parent))
        assert talk["visible"] == []
        assert stack.end_with(signal.SIGTERM) == 0, stack.log
        until_gone(tmp_path)
        assert [entry.name for entry in empty.iterdir()] == [".playhead"]
    finally:
        stack.http.close()
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()
