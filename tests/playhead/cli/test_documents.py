"""`playhead documents`, and the files that `playhead agents` sends with an agent."""

import json
from hashlib import sha256
from pathlib import Path

from pytest_httpserver import HTTPServer

from api.schemas.examples import AGENT, DOCUMENT, page_of
from playhead.exit_codes import FINDING
from tests.playhead.cli.running import playhead

AGENT_FILE = """
name: library
start: desk
nodes: {desk: {prompt: Answer., end: true, tools: [faq]}}
tools: {faq: {kind: documents, files: [docs/faq.md, FILE]}}
"""
FAQ = "Nine to five."


def agent_file(folder: Path, other: str) -> str:
    (folder / "docs").mkdir(exist_ok=True)
    (folder / "docs" / "faq.md").write_text(FAQ)
    (folder / "agent.yaml").write_text(AGENT_FILE.replace("FILE", other))
    return str(folder / "agent.yaml")


def test_files_beside_an_agent_are_sent_with_it(api: HTTPServer, tmp_path: Path) -> None:
    api.expect_ordered_request(
        "/v1/documents", method="POST", query_string={"name": "docs/faq.md"}, data=FAQ
    ).respond_with_json(DOCUMENT, status=201)
    reference = f"{sha256(FAQ.encode()).hexdigest()}:docs/faq.md"
    api.expect_ordered_request("/v1/agents", method="POST", query_string={"document": reference}).respond_with_json(
        AGENT, status=201
    )
    result = playhead("agents", "push", agent_file(tmp_path, "uploaded.md"))
    assert result.exit_code == 0, result.output


def test_files_outside_the_folder_are_not_sent(api: HTTPServer, tmp_path: Path) -> None:
    (tmp_path / "secret.md").write_text("A secret.")
    folder = tmp_path / "agents"
    folder.mkdir()
    file = agent_file(folder, "link.md")
    (folder / "link.md").symlink_to(tmp_path / "secret.md")
    api.expect_ordered_request("/v1/documents", method="POST", data=FAQ).respond_with_json(DOCUMENT, status=201)
    api.expect_ordered_request("/v1/agents", method="POST").respond_with_json(AGENT, status=201)
    assert playhead("agents", "push", file).exit_code == 0


def test_missing_and_unreadable_files_are_validation_errors(tmp_path: Path) -> None:
    (tmp_path / "broken.pdf").write_text("no pdf")
    for other, message in (("lost.md", "there is no file lost.md"), ("broken.pdf", "is not a PDF that can be read")):
        result = playhead("agents", "validate", "--json", agent_file(tmp_path, other))
        assert result.exit_code == FINDING
        ((report,),) = (json.loads(result.stdout),)
        ((place, found),) = [(error["place"], error["message"]) for error in report["errors"]]
        assert place == "tools.faq.files[1]"
        assert message in found
    (tmp_path / "other.txt").write_text("Words.")
    assert playhead("agents", "validate", agent_file(tmp_path, "other.txt")).exit_code == 0


def test_documents_are_uploaded_listed_and_erased(api: HTTPServer, tmp_path: Path) -> None:
    (tmp_path / "menu.md").write_text("Vongole.")
    api.expect_request("/v1/documents", method="POST", query_string={"name": "menu.md"}).respond_with_json(
        DOCUMENT, 201
    )
    api.expect_request("/v1/documents", method="GET").respond_with_json(page_of(DOCUMENT))
    api.expect_request(f"/v1/documents/{DOCUMENT['sha256']}", method="DELETE").respond_with_data(b"", 204)
    api.expect_request("/v1/agents/booking-line", method="DELETE").respond_with_data(b"", 204)
    assert (
        playhead("documents", "push", str(tmp_path / "menu.md")).stdout
        == f"menu.md: 7 passages ({DOCUMENT['sha256']})\n"
    )
    assert "menu.md" in playhead("documents", "ls").stdout
    assert json.loads(playhead("documents", "ls", "--json").stdout)[0]["sha256"] == DOCUMENT["sha256"]
    assert playhead("documents", "rm", DOCUMENT["sha256"]).exit_code == 0
    assert playhead("agents", "rm", "booking-line").exit_code == 0
