"""HTTP tools: requests from templates, limited responses, and error messages for the model."""

import gzip
import json
import re
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from activities.tool_clients.dispatcher import ToolDispatcher
from activities.tool_clients.responses import MAX_CONTENT_CHARACTERS
from tests.support.ports import free_port
from tests.support.tool_calls import KEY, LOOPBACK, call_of, failure_of, http_tool, silent_port

TOKEN = "t0p-s3cret/+ token"


@pytest.fixture
async def dispatcher() -> AsyncIterator[ToolDispatcher]:
    box = ToolDispatcher(credentials={"TOKEN": TOKEN, "OTHER": "another-secret"}, allowlist=LOOPBACK)
    yield box
    await box.close()


def answering(service: HTTPServer, body: str | bytes = "{}", **answer: Any) -> str:
    """Make the service answer every request like this; returns its address."""
    answer.setdefault("content_type", "application/json")
    service.expect_request("/", method="GET").respond_with_data(body, **answer)
    service.expect_request("/", method="POST").respond_with_data(body, **answer)
    return service.url_for("/")


def sent(service: HTTPServer) -> Request:
    """The one request that reached the service."""
    (entry,) = service.log
    return entry[0]


# --- requests -----------------------------------------------------------------------------------


async def test_arguments_are_sent_as_json_with_the_idempotency_key(
    service: HTTPServer, dispatcher: ToolDispatcher
) -> None:
    tool = http_tool(answering(service, '{"free": true}'))
    result = await dispatcher.run(call_of(tool, {"guests": 4, "day": "größer"}))
    assert (result.content, result.status, result.error) == ('{"free":true}', 200, None)
    request = sent(service)
    assert request.get_json() == {"guests": 4, "day": "größer"}
    assert request.headers["Idempotency-Key"] == KEY
    assert request.headers["Content-Type"] == "application/json"
    assert request.headers["Accept-Encoding"] == "identity"


@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_methods_without_a_body_send_the_arguments_as_query(
    service: HTTPServer, dispatcher: ToolDispatcher, method: str
) -> None:
    service.expect_request("/tables/4").respond_with_json([])
    schema = {"type": "object", "additionalProperties": True, "properties": {"guests": {}}}
    tool = http_tool(service.url_for("/tables/{{guests}}?v=1"), method=method, parameters=schema)
    arguments = {"guests": 4, "day": "a&b=c", "tags": ["x", "y"], "open": True, "none": None, "at": {"h": 1}}
    await dispatcher.run(call_of(tool, arguments))
    request = sent(service)
    assert request.method == method
    assert not request.data
    expected = [("v", "1"), ("day", "a&b=c"), ("tags", "x"), ("tags", "y"), ("open", "true"), ("at", '{"h": 1}')]
    assert list(request.args.items(multi=True)) == expected


async def test_templates_see_context_arguments_and_declared_credentials(
    service: HTTPServer, dispatcher: ToolDispatcher
) -> None:
    service.expect_request("/v/rome & co/x").respond_with_json({})
    tool = http_tool(
        service.url_for("/v/{{city}}/x?k={{secrets.TOKEN}}&lang={{lang | en us}}"),
        headers={"Authorization": "Bearer {{secrets.TOKEN}}", "X-Guest": "{{guest.name}} für {{guests}}"},
        body={"n": "{{guests}}", "text": "for {{guests}}", "who": ["{{guest}}", "{{missing}}"], "fixed": 1.5},
        secrets=["TOKEN"],
    )
    context = {"city": "rome & co", "guest": {"name": "Ann"}}
    await dispatcher.run(call_of(tool, {"guests": 4}, context=context))
    request = sent(service)
    assert request.args.to_dict() == {"k": TOKEN, "lang": "en us"}
    assert request.headers["Authorization"] == f"Bearer {TOKEN}"
    assert request.environ["HTTP_X_GUEST"].encode("latin-1").decode() == "Ann für 4"
    assert request.get_json() == {"n": 4, "text": "for 4", "who": [{"name": "Ann"}, None], "fixed": 1.5}


@pytest.mark.parametrize("value", ["../admin", "a/b", "a?x=1", "a#b", "%2e%2e", "ä\u2028", "a\r\nb", "x@evil.example"])
async def test_a_value_in_an_address_stays_one_segment_of_it(
    service: HTTPServer, dispatcher: ToolDispatcher, value: str
) -> None:
    paths: list[str] = []

    def note(request: Request) -> Response:
        paths.append(request.environ["RAW_URI"])
        return Response("{}", content_type="application/json")

    service.expect_request(re.compile(".*")).respond_with_handler(note)
    tool = http_tool(service.url_for("/guests/{{day}}/notes"), method="GET")
    await dispatcher.run(call_of(tool, {"day": value}))
    (path,) = paths
    assert path.startswith("/guests/")
    assert path.endswith("/notes")
    assert path.count("/") == 3


@pytest.mark.parametrize("value", [".", ".."])
async def test_a_value_with_a_path_traversal_is_not_sent(
    service: HTTPServer, dispatcher: ToolDispatcher, value: str
) -> None:
    tool = http_tool(service.url_for("/guests/{{day}}/notes"), method="GET")
    assert (await failure_of(dispatcher, call_of(tool, {"day": value}))).code == "invalid_arguments"
    assert not service.log


async def test_value_that_makes_the_address_too_long_is_not_sent(
    service: HTTPServer, dispatcher: ToolDispatcher
) -> None:
    tool = http_tool(service.url_for("/guests/{{day}}"), method="GET")
    assert (await failure_of(dispatcher, call_of(tool, {"day": "x" * 70_000}))).code == "invalid_arguments"
    assert not service.log


async def test_value_with_a_line_break_makes_no_header(service: HTTPServer, dispatcher: ToolDispatcher) -> None:
    tool = http_tool(answering(service), headers={"X-Day": "{{day}}"})
    failure = await failure_of(dispatcher, call_of(tool, {"day": "a\r\nX-Admin: 1"}))
    assert failure.code == "invalid_arguments"
    assert "X-Day" in str(failure)
    assert not service.log


async def test_argument_the_tool_does_not_declare_replaces_no_variable(
    service: HTTPServer, dispatcher: ToolDispatcher
) -> None:
    schema = {"type": "object", "properties": {"guests": {}}, "additionalProperties": True}
    tool = http_tool(answering(service), parameters=schema, body={"customer": "{{customer}}"})
    await dispatcher.run(call_of(tool, {"customer": "somebody else"}, context={"customer": "me"}))
    assert sent(service).get_json() == {"customer": "me"}


@pytest.mark.parametrize("arguments", [{"guests": "4"}, {"guests": 4, "undeclared": 1}, {"guests": 4.5}])
async def test_arguments_that_do_not_fit_the_schema_make_no_call(
    service: HTTPServer, dispatcher: ToolDispatcher, arguments: dict[str, Any]
) -> None:
    failure = await failure_of(dispatcher, call_of(http_tool(answering(service)), arguments))
    assert (failure.code, failure.retryable) == ("invalid_arguments", False)
    assert "guests" in str(failure)
    assert not service.log


async def test_schema_that_cannot_be_used_makes_no_call(service: HTTPServer, dispatcher: ToolDispatcher) -> None:
    tool = http_tool(answering(service), parameters={"type": "object", "properties": {"a": {"$ref": "#/nowhere"}}})
    assert (await failure_of(dispatcher, call_of(tool, {"a": 1}))).code == "invalid_tool"
    assert not service.log


async def test_credential_that_is_not_set_makes_no_call(service: HTTPServer, dispatcher: ToolDispatcher) -> None:
    tool = http_tool(answering(service), secrets=["TOKEN", "UNSET"], headers={"X-Key": "{{secrets.UNSET}}"})
    failure = await failure_of(dispatcher, call_of(tool))
    assert failure.code == "missing_secret"
    assert "UNSET" in str(failure)
    assert not service.log


async def test_credential_a_tool_does_not_declare_is_not_found(service: HTTPServer, dispatcher: ToolDispatcher) -> None:
    tool = http_tool(answering(service), secrets=["TOKEN"], headers={"X-Key": "<{{secrets.OTHER}}>"})
    await dispatcher.run(call_of(tool, context={"secrets": {"OTHER": "from the context"}}))
    assert sent(service).headers["X-Key"] == "<>"


async def test_cookies_of_one_call_do_not_reach_another(service: HTTPServer, dispatcher: ToolDispatcher) -> None:
    tool = http_tool(answering(service, headers={"Set-Cookie": "session=ann; Path=/"}))
    await dispatcher.run(call_of(tool))
    await dispatcher.run(call_of(tool))
    assert [request.cookies.get("session") for request, _ in service.log] == [None, None]


# --- responses ----------------------------------------------------------------------------------


async def test_parts_of_the_answer_join_the_context(service: HTTPServer, dispatcher: ToolDispatcher) -> None:
    tool = http_tool(
        answering(service, '{"tables": [{"number": 7}], "note": null}'),
        assign={"table": "tables.0.number", "note": "note", "gone": "tables.1.number", "all": ""},
    )
    result = await dispatcher.run(call_of(tool))
    whole = {"tables": [{"number": 7}], "note": None}
    assert result.assigned == {"table": 7, "note": None, "gone": None, "all": whole}


async def test_text_is_an_answer_too(service: HTTPServer, dispatcher: ToolDispatcher) -> None:
    url = answering(service, "Tisch 7, schön".encode("latin-1"), content_type="text/plain; charset=iso-8859-1")
    result = await dispatcher.run(call_of(http_tool(url, assign={"said": ""})))
    assert (result.content, result.assigned) == ("Tisch 7, schön", {"said": "Tisch 7, schön"})


@pytest.mark.parametrize(
    "content_type", ["text/plain; charset=nonsense", "text/plain; charset=zlib", "application/xml"]
)
async def test_unusual_encodings_are_read_as_far_as_they_can_be(
    service: HTTPServer, dispatcher: ToolDispatcher, content_type: str
) -> None:
    url = answering(service, b"Tisch \xff", content_type=content_type)
    assert (await dispatcher.run(call_of(http_tool(url)))).content == "Tisch \ufffd"


async def test_an_empty_answer_is_reported_as_done(service: HTTPServer, dispatcher: ToolDispatcher) -> None:
    service.expect_request("/").respond_with_data("", status=204)
    result = await dispatcher.run(call_of(http_tool(service.url_for("/"), assign={"x": "a"})))
    assert result.content == "Done: the service answered 204 without content."
    assert result.assigned == {"x": None}


@pytest.mark.parametrize(
    ("body", "content_type", "code"),
    [
        ("not json", "application/json", "not_json"),
        ("[NaN]", "application/problem+json", "not_json"),
        ("9" * 5_000, "application/json", "not_json"),
        ("[" * 5_000 + "]" * 5_000, "application/json", "not_json"),
        (b"\x89PNG", "image/png", "not_text"),
        (gzip.compress(b"{}", mtime=0), "application/octet-stream", "not_text"),
        ("x" * 65_537, "text/plain", "too_large"),
    ],
)
async def test_answer_that_cannot_be_read_is_an_error(
    service: HTTPServer, dispatcher: ToolDispatcher, body: str | bytes, content_type: str, code: str
) -> None:
    failure = await failure_of(dispatcher, call_of(http_tool(answering(service, body, content_type=content_type))))
    assert (failure.code, failure.retryable) == (code, False)


async def test_answer_that_the_context_cannot_take_is_an_error(service: HTTPServer, dispatcher: ToolDispatcher) -> None:
    plain = http_tool(answering(service, "plain", content_type="text/plain"), assign={"a": "b"})
    assert (await failure_of(dispatcher, call_of(plain))).code == "not_json"
    service.clear()
    large = http_tool(answering(service, json.dumps("x" * 40_000)), assign={"kept": ""})
    assert (await failure_of(dispatcher, call_of(large))).code == "too_large"


async def test_compressed_answer_is_refused_unread(service: HTTPServer, dispatcher: ToolDispatcher) -> None:
    bomb = gzip.compress(b"0" * 50_000_000, mtime=0)
    url = answering(service, bomb, headers={"Content-Encoding": "gzip"})
    assert (await failure_of(dispatcher, call_of(http_tool(url)))).code == "not_text"


async def test_endless_answer_is_read_to_its_limit_only(service: HTTPServer, dispatcher: ToolDispatcher) -> None:
    given = 0

    def endless(_: Request) -> Response:
        def parts() -> Any:
            nonlocal given
            while given < 1_000_000:
                given += 1
                yield b"x" * 1_000

        return Response(parts(), content_type="text/plain")

    service.expect_request("/").respond_with_handler(endless)
    failure = await failure_of(dispatcher, call_of(http_tool(service.url_for("/"), max_response_bytes=5_000)))
    assert failure.code == "too_large"
    assert given < 100_000


async def test_long_answer_is_cut_for_the_model_with_a_note(service: HTTPServer, dispatcher: ToolDispatcher) -> None:
    result = await dispatcher.run(call_of(http_tool(answering(service, "y" * 20_000, content_type="text/plain"))))
    assert result.content.startswith("y" * MAX_CONTENT_CHARACTERS)
    assert result.content.endswith("[The answer goes on; 4,000 more characters are left out here.]")


async def test_characters_that_cannot_be_stored_are_replaced(service: HTTPServer, dispatcher: ToolDispatcher) -> None:
    tool = http_tool(answering(service, r'{"a\u0000": "b\ud800"}'), assign={"all": ""})
    result = await dispatcher.run(call_of(tool))
    assert result.assigned == {"all": {"a\ufffd": "b\ufffd"}}
    assert result.model_dump_json()
    assert "\x00" not in result.content


# --- errors -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "retryable"),
    [
        *((status, False) for status in (400, 401, 404, 409, 501, 505)),
        *((status, True) for status in (408, 425, 429, 500, 502, 503, 504, 529)),
    ],
)
async def test_status_decides_whether_a_call_is_made_again(
    service: HTTPServer, dispatcher: ToolDispatcher, status: int, retryable: bool
) -> None:
    url = answering(service, '{"detail": "no such day"}', status=status, content_type="application/problem+json")
    failure = await failure_of(dispatcher, call_of(http_tool(url)))
    assert (failure.code, failure.status, failure.retryable) == ("http_error", status, retryable)
    assert "no such day" in str(failure)


def in_half_a_minute() -> str:
    return format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)


@pytest.mark.parametrize(
    ("value", "least", "most"),
    [
        (lambda: "7", 7.0, 7.0),
        (in_half_a_minute, 25.0, 30.0),
        (lambda: "Wed, 21 Oct 2015 07:28:00 GMT", 0.0, 0.0),
        (lambda: "soon", None, None),
    ],
)
async def test_the_service_can_set_the_retry_delay(
    service: HTTPServer, dispatcher: ToolDispatcher, value: Callable[[], str], least: float | None, most: float | None
) -> None:
    url = answering(service, "busy", status=429, headers={"Retry-After": value()}, content_type="text/plain")
    wait = (await failure_of(dispatcher, call_of(http_tool(url)))).retry_after
    assert (wait is None) if least is None or most is None else (wait is not None and least <= wait <= most)


async def test_redirect_is_not_followed(service: HTTPServer, dispatcher: ToolDispatcher) -> None:
    url = answering(service, status=307, headers={"Location": service.url_for("/elsewhere")})
    failure = await failure_of(dispatcher, call_of(http_tool(url)))
    assert (failure.code, failure.status, failure.retryable) == ("http_error", 307, False)
    assert "not followed" in str(failure)
    assert len(service.log) == 1


async def test_a_long_error_answer_is_cut(service: HTTPServer, dispatcher: ToolDispatcher) -> None:
    url = answering(service, "z" * 200_000, status=500, content_type="text/plain")
    assert len(str(await failure_of(dispatcher, call_of(http_tool(url))))) < 2_200


async def test_a_binary_error_page_is_not_quoted(service: HTTPServer, dispatcher: ToolDispatcher) -> None:
    url = answering(service, b"\x00\x01", status=500, content_type="application/octet-stream")
    message = str(await failure_of(dispatcher, call_of(http_tool(url))))
    assert message == "The service answered 500 Internal Server Error."


async def test_service_that_does_not_answer_in_time_may_be_called_again(dispatcher: ToolDispatcher) -> None:
    with silent_port() as port:
        tool = http_tool(f"http://127.0.0.1:{port}/", timeout_seconds=0.2)
        failure = await failure_of(dispatcher, call_of(tool))
    assert (failure.code, failure.retryable) == ("timeout", True)


async def test_service_that_cannot_be_reached_may_be_called_again(dispatcher: ToolDispatcher) -> None:
    failure = await failure_of(dispatcher, call_of(http_tool(f"http://127.0.0.1:{free_port()}/")))
    assert (failure.code, failure.retryable) == ("connection_failed", True)


async def test_a_refused_address_is_logged_and_not_shown_to_the_model(
    service: HTTPServer, caplog: pytest.LogCaptureFixture
) -> None:
    dispatcher = ToolDispatcher(credentials={})
    failure = await failure_of(dispatcher, call_of(http_tool(answering(service))))
    assert (failure.code, failure.retryable) == ("refused_address", False)
    assert "127.0.0.1" not in str(failure)
    assert "127.0.0.1" in caplog.text
    assert "setting" in caplog.text
    assert not service.log


async def test_an_internal_error_fails_the_call_and_not_the_turn(
    service: HTTPServer, dispatcher: ToolDispatcher, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise LookupError(f"lost {TOKEN}")

    monkeypatch.setattr("activities.tool_clients.http.http_request", broken)
    failure = await failure_of(dispatcher, call_of(http_tool(answering(service))))
    assert (failure.code, str(failure)) == ("internal_error", "The tool could not be called: LookupError.")
    assert "lost [redacted]" in caplog.text
