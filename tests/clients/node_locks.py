"""Trims the lock file of a Node client: `python -m tests.clients.node_locks promptfoo`, after `npm install`.

It removes the optional packages of the client itself (drivers of other services, browsers), and every URL, so that no
lock file names a host. Optional packages of its dependencies stay: they hold their binaries.
"""

import json
import sys
from collections.abc import Iterator
from typing import Any

from tests.clients.environments import HERE

Package = dict[str, Any]  # Any: what npm wrote


def trimmed(lock: Package) -> Package:
    """The lock without packages that are not needed, and without URLs."""
    packages: dict[str, Package] = lock["packages"]
    for name in packages[""]["dependencies"]:
        packages[f"node_modules/{name}"].pop("optionalDependencies", None)
    kept, due = {""}, [""]
    while due:
        for path in _needed(packages, due.pop()):
            if path not in kept:
                kept.add(path)
                due.append(path)
    return {**lock, "packages": {path: _without_hosts(packages[path]) for path in packages if path in kept}}


def _needed(packages: dict[str, Package], path: str) -> Iterator[str]:
    """The paths of the packages that a package needs, resolved as Node resolves them."""
    package = packages[path]
    optional_peers = {name for name, meta in package.get("peerDependenciesMeta", {}).items() if meta.get("optional")}
    peers = set(package.get("peerDependencies", {})) - optional_peers
    for name in {*package.get("dependencies", {}), *package.get("optionalDependencies", {}), *peers}:
        folder: str | None = path
        while folder is not None:
            place = f"{folder}/node_modules/{name}".removeprefix("/")
            if place in packages:
                yield place
                break
            folder = (
                None if not folder else folder.rpartition("/node_modules/")[0] if "/node_modules/" in folder else ""
            )


def _without_hosts(package: Package) -> Package:
    return {name: value for name, value in package.items() if name not in ("funding", "deprecated", "resolved")}


def main(client: str) -> None:
    """Trim the lock file of a client."""
    file = HERE / client / "package-lock.json"
    file.write_text(json.dumps(trimmed(json.loads(file.read_text())), indent=2) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
