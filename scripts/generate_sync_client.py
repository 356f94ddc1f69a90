"""Generates the blocking client, `playhead_client/_sync`, from the async one, `playhead_client/_async`.

python scripts/generate_sync_client.py           write the files
python scripts/generate_sync_client.py --check   exit with 1 when one of them differs from what would be written
"""

import re
import subprocess
import sys
from pathlib import Path

CLIENT = Path(__file__).parents[1] / "clients" / "python" / "playhead_client"
REPLACEMENTS = [
    (r"\basync (def|for|with)\b", r"\1"),
    (r"\bawait ", ""),
    (r"\bAwaitable\[(\w+)\]", r"\1"),
    (r"\bAwaitable, ", ""),
    (r"\bAsync(?=[A-Z])", ""),
    (r"\b_async\b", "_sync"),
    (r"\b__a(enter|exit|iter|next)__\b", r"__\1__"),
    (r"\ba(clos(?:e|ing)|next|read)\b", r"\1"),
    (r"\basyncio\b", "time"),
    (r"\b([Tt]he) async client\b", r"\1 blocking client"),
]
"""Patterns of the async source, and their counterparts in the blocking one."""
HEADER = "# Generated from _async/{name} by scripts/generate_sync_client.py; change that file instead.\n"


def generated() -> dict[Path, str]:
    """The text of every file of the blocking client."""
    return {CLIENT / "_sync" / source.name: _blocking(source) for source in sorted((CLIENT / "_async").glob("*.py"))}


def outdated() -> list[Path]:
    """Files that differ from what would be generated, are missing, or have lost their source."""
    files = generated()
    differing = [path for path, text in files.items() if not path.is_file() or path.read_text() != text]
    return [*differing, *sorted(set((CLIENT / "_sync").glob("*.py")) - set(files))]


def _blocking(source: Path) -> str:
    text = source.read_text()
    for pattern, replacement in REPLACEMENTS:
        text = re.sub(pattern, replacement, text)
    text = HEADER.format(name=source.name) + text
    # Shorter names change the order of imports and the breaks of lines.
    for command in (["check", "--quiet", "--select", "I", "--fix"], ["format", "--quiet"]):
        ruff = [sys.executable, "-m", "ruff", *command, "--stdin-filename", str(CLIENT / "_sync" / source.name), "-"]
        text = subprocess.run(ruff, input=text, capture_output=True, text=True, check=True).stdout
    return text


def main() -> int:
    """Write the files, or check them."""
    if "--check" in sys.argv[1:]:
        stale = outdated()
        if stale:
            names = ", ".join(path.name for path in stale)
            print(
                f"playhead_client/_sync is out of date ({names}): run scripts/generate_sync_client.py", file=sys.stderr
            )
        return 1 if stale else 0
    files = generated()
    for path in set((CLIENT / "_sync").glob("*.py")) - set(files):
        path.unlink()
    for path, text in files.items():
        path.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
