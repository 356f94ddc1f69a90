"""Makes the picture in the README: runs the demo in a terminal and draws its output.

    .venv/bin/python docs/make_picture.py

The run is real and talks to the offline demo model. Whole stages are left out to keep the picture short; each gap is
marked. Run it again when the demo's words or looks change.
"""

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

ROOT = Path(__file__).parents[1]
PICTURE = ROOT / "docs" / "images" / "demo.svg"
COLUMNS = 94
SHOWN_STAGES = (3, 4, 5, 6, 7)
"""Stages of the demo that are drawn, by their numbers; the last line always is."""
GAP = Text("  …", style="dim")
FONTS = "ui-monospace, SFMono-Regular, Menlo, Consolas, DejaVu Sans Mono, monospace"
THEME = TerminalTheme(
    background=(24, 27, 33),
    foreground=(214, 219, 226),
    normal=[
        *[(40, 44, 52), (224, 108, 117), (152, 195, 121), (229, 192, 123)],
        *[(97, 175, 239), (198, 120, 221), (86, 182, 194), (171, 178, 191)],
    ],
)
HEADING = re.compile(r"^(\d+)\. ")
OF_THIS_MACHINE = re.compile(r"/(?:tmp|var|home|root|Users)\b")


def main() -> int:
    """Run the demo and write the picture; the exit status is the demo's."""
    written, status = run_demo()
    if status:
        sys.stderr.write(f"make_picture: the demo failed, so there is no new picture. It said:\n{written}\n")
        return status
    lines = shown(list(Text.from_ansi(written).split("\n")))
    foreign = [line.plain for line in lines if OF_THIS_MACHINE.search(line.plain)]
    if foreign:
        sys.stderr.write(f"make_picture: these lines name folders of this machine: {foreign}. Leave their stage out.\n")
        return 1
    PICTURE.parent.mkdir(exist_ok=True)
    PICTURE.write_text(drawn(lines), encoding="utf-8")
    sys.stdout.write(f"make_picture: {PICTURE.relative_to(ROOT)} has {len(lines)} lines\n")
    return 0


def run_demo() -> tuple[str, int]:
    """Run the demo in a terminal; returns its output with colours, and its exit status."""
    master, terminal = pty.openpty()
    demo = subprocess.Popen(
        [sys.executable, "-m", "playhead.demo"],
        cwd=ROOT,
        env=environment(),
        stdout=terminal,
        stdin=subprocess.DEVNULL,
    )
    os.close(terminal)
    written = b""
    try:
        while chunk := os.read(master, 65_536):
            written += chunk
    except OSError:  # Linux raises this when the terminal is closed
        pass
    os.close(master)
    return written.decode().replace("\r\n", "\n"), demo.wait()


def environment() -> dict[str, str]:
    """This environment without settings and provider keys: the picture shows what everybody sees first."""
    of_the_person = ("PLAYHEAD_", "TEMPORAL_", "OPENAI_", "ANTHROPIC_", "NO_COLOR")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(of_the_person)}
    return {**kept, "COLUMNS": str(COLUMNS), "TERM": "xterm-256color", "PLAYHEAD_MODEL": "demo"}


def shown(lines: list[Text]) -> list[Text]:
    """The command, the stages that are drawn, and the last line."""
    picked = [Text.assemble(("$ ", "dim"), ("make demo", "bold"))]
    is_shown = False
    for line in lines:
        heading = HEADING.match(line.plain)
        if heading:
            is_shown = int(heading[1]) in SHOWN_STAGES
        if is_shown:
            picked.append(line)
        elif picked[-1] is not GAP:
            picked.append(GAP)
    last = next(line for line in reversed(lines) if line.plain.strip())
    last.stylize("bold green")
    return [*picked, last]


def drawn(lines: list[Text]) -> str:
    """The lines as an SVG without external fonts."""
    with open(os.devnull, "w") as nowhere:
        console = Console(record=True, width=COLUMNS, file=nowhere, force_terminal=True, color_system="truecolor")
        for line in lines:
            console.print(line, no_wrap=True, overflow="crop")
    picture = console.export_svg(title="make demo", theme=THEME, unique_id="demo")
    picture = re.sub(r"\s*@font-face \{.*?\}", "", picture, flags=re.DOTALL)
    return re.sub(r"<!--.*?-->\s*", "", picture).replace("Fira Code, monospace", FONTS)


if __name__ == "__main__":
    sys.exit(main())
