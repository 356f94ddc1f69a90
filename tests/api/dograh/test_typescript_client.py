"""dograh's TypeScript client from the npm registry, compiled with the types of this API, drives a text chat."""

import asyncio
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.api.dograh.dental import TO_VISIT
from tests.api.dograh.panel import imported
from tests.support.provider import ScriptedModel, TextReply, ToolCallReply
from tests.support.running_api import Caller

Scripted = Callable[..., ScriptedModel]

WEB = Path(__file__).parents[3] / "web"
CLIENT = WEB / "node_modules" / "@dograh" / "sdk"
COMPILED = WEB / "node_modules" / ".cache" / "dograh"
"""Under node_modules, so that Node finds the client from there."""
OPTIONS = (
    *("--target", "es2022", "--module", "esnext", "--moduleResolution", "bundler"),
    *("--strict", "--skipLibCheck", "--noEmitOnError"),
)

pytestmark = [
    pytest.mark.skipif(not CLIENT.is_dir(), reason="no packages of the page: `make web` installs them, with npm"),
    pytest.mark.timeout(300),
]


async def run(*command: str, **environment: str) -> str:
    """Run a program; returns its output, or fails with its errors."""
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=WEB,
        env={**os.environ, **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, errors = await process.communicate()
    assert process.returncode == 0, f"{out.decode()}\n{errors.decode()}"
    return out.decode()


async def test_the_client_of_dograh_drives_a_text_chat(caller: Caller, scripted: Scripted, tmp_path: Path) -> None:
    folder = COMPILED / tmp_path.name
    compiler = WEB / "node_modules" / ".bin" / "tsc"
    await run(str(compiler), *OPTIONS, "--types", "node", "--outDir", str(folder), "tests/dograh/chat.ts")
    (program,) = folder.rglob("chat.js")
    model = scripted(ToolCallReply(TO_VISIT), TextReply("Which day?"), TextReply("From nine to six."))
    workflow_id = await imported(caller, model.string)
    key = caller.http.headers["authorization"].removeprefix("Bearer ")
    address = str(caller.http.base_url)
    (folder / "package.json").write_text('{"type": "module"}')
    report = json.loads(
        await run("node", str(program), str(workflow_id), PLAYHEAD_API_URL=address, PLAYHEAD_API_KEY=key)
    )
    assert report["listed"] == [workflow_id]
    assert report["workflow"] == "dental"
    assert report["revisions"] == [2, 4, 5, 7, 8]
    assert report["opened"] == ["Good evening, Larkspur Dental."]
    assert report["first"][-1] == "Let me open the calendar.\n\nWhich day?"
    assert report["second"] == ["Good evening, Larkspur Dental.", "From nine to six."]
    assert report["discarded"] == [1]
    assert report["stale"]["status"] == 409
    assert report["stale"]["body"]["detail"]["actual_revision"] == 4
    assert report["late"] == {"status": 400, "body": {"detail": "Text chat session has ended"}}
    assert (report["state"], report["runs"]) == ("completed", 1)
