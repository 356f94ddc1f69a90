"""The page as served: its index, hashed files, compression, caching, policy, and the addresses that it answers."""

from pathlib import Path

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from api.http import error_handlers
from api.page.files import PageFiles
from api.page.routes import NOT_BUILT, VIEWS, page_router
from tests.support.running_api import Caller

SCRIPT = b"console.log('hello');"


@pytest.fixture
def built(tmp_path: Path) -> Path:
    """A folder as `make web` fills it."""
    (tmp_path / "assets").mkdir()
    (tmp_path / "index.html").write_text("<!doctype html><title>Playhead</title>")
    (tmp_path / "favicon.svg").write_text("<svg/>")
    (tmp_path / "assets" / "index-abc.js").write_bytes(SCRIPT)
    (tmp_path / "assets" / "index-abc.js.br").write_bytes(b"brotli")
    (tmp_path / "assets" / "index-abc.js.gz").write_bytes(b"gzip")
    return tmp_path


def client_of(folder: Path) -> TestClient:
    app = FastAPI(routes=page_router(PageFiles(folder)).routes)
    error_handlers.install(app)
    return TestClient(app)


def test_index_answers_every_view_of_the_page_and_nothing_else(built: Path) -> None:
    client = client_of(built)
    for path in ("/", "/sessions/ses_1?turn=2", "/sessions/ses_1/branches", *(f"/{view}" for view in VIEWS)):
        answer = client.get(path)
        assert answer.status_code == 200, path
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert answer.headers["cache-control"] == "no-cache"
        assert answer.headers["content-security-policy"].startswith("default-src 'none'; script-src 'self';")
    for path in ("/v1/nothing", "/api/nothing", "/openapi.jsonx", "/healthzz", "/other", "/index.html"):
        assert client.get(path).status_code == 404, path
    assert client.post("/sessions").status_code == 405


def test_hashed_files_never_change_and_are_sent_in_the_smallest_accepted_coding(built: Path) -> None:
    client = client_of(built)
    for accepted, coding in (("gzip, br;q=1", "br"), ("gzip, br;q=0", "gzip"), ("identity", None)):
        answer = client.send(
            client.build_request("GET", "/assets/index-abc.js", headers={"accept-encoding": accepted}), stream=True
        )
        assert answer.headers.get("content-encoding") == coding
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert answer.headers["vary"] == "Accept-Encoding"
        assert answer.headers["content-type"] == "text/javascript; charset=utf-8"
    for name in ("missing.js", "..%2findex.html", "index-abc.js.br"):
        assert client.get(f"/assets/{name}").status_code == 404, name


def test_an_index_that_did_not_change_is_not_sent_again(built: Path) -> None:
    client = client_of(built)
    etag = client.get("/").headers["etag"]
    answer = client.get("/", headers={"if-none-match": etag})
    assert (answer.status_code, answer.content) == (304, b"")


def test_an_unbuilt_page_explains_how_to_build_it_and_is_served_once_built(tmp_path: Path) -> None:
    client = client_of(tmp_path)
    assert client.get("/").text == NOT_BUILT
    (tmp_path / "index.html").write_text("built")
    assert client.get("/").text == "built"


async def test_the_api_serves_the_page_beside_its_routes(caller: Caller) -> None:
    answer = await caller.get("/")
    assert answer.status_code == 200
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert (await caller.get("/healthz")).json() == {"status": "ok"}
    assert (await caller.get("/v1/nothing")).json()["code"] == "not_found"
