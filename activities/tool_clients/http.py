"""HTTP tools: one request to a web service, guarded, limited in time and size, and without credentials in its trace."""

import asyncio
import logging

import httpx2
from pydantic import JsonValue

from activities.network.egress_guard import EgressDenied, EgressGuard
from activities.network.http_responses import is_retryable, retry_after
from activities.network.secrets import Credentials, Redactor
from activities.tool_clients.argument_validation import check_arguments
from activities.tool_clients.interface import ToolCall, ToolFailed
from activities.tool_clients.requests import ToolRequest, http_request, secrets_of
from activities.tool_clients.responses import as_content, as_json, assigned, check_encoding, parsed, storable
from contracts.tools import CallToolResult
from domain.agents.tools import HttpTool

MAX_CHARACTERS_OF_REFUSAL = 2_000
"""What the model is told of an answer that is no success."""

log = logging.getLogger(__name__)


class HttpTools:
    """Calls web services. `credentials` are found by name; none of their values leaves by any way but the request."""

    def __init__(self, *, guard: EgressGuard, credentials: Credentials) -> None:
        self._guard = guard
        self._credentials = credentials
        self._redactor = Redactor(credentials.secrets())

    async def run(self, call: ToolCall, tool: HttpTool) -> CallToolResult:
        """Make one attempt at a call. Raises ToolFailed."""
        check_arguments(tool, call.arguments)
        request = http_request(call, tool, secrets_of(tool, self._credentials.of(call.organization_id)))
        try:
            async with asyncio.timeout(tool.timeout_seconds):
                status, headers, text = await self._exchange(request, tool)
        except (TimeoutError, httpx2.TimeoutException):
            message = f"The service did not answer within {tool.timeout_seconds:g} seconds."
            raise ToolFailed("timeout", message, retryable=True) from None
        except httpx2.InvalidURL:
            raise ToolFailed("invalid_arguments", "The call was not made: its address would not be valid.") from None
        except httpx2.TransportError as error:
            log.warning("the tool %s was not answered: %s", call.name, self._redactor.text(repr(error)))
            raise ToolFailed("connection_failed", "The connection to the service failed.", retryable=True) from None
        except EgressDenied as error:
            log.warning("the tool %s was not called: %s", call.name, error)
            raise ToolFailed(
                "refused_address", "The call was not made: tools may not reach the address of this service."
            ) from None
        if not 200 <= status < 300:
            raise self._refusal(status, headers, text)
        return self._result(tool, status, headers, text)

    async def _exchange(self, request: ToolRequest, tool: HttpTool) -> tuple[int, httpx2.Headers, str]:
        """Send a request and read its answer, no more of it than allowed. Redirects are answers like others."""
        sent = httpx2.Request(
            request.method,
            request.url,
            headers=list(request.headers),
            content=request.body or None,
            extensions={"timeout": httpx2.Timeout(tool.timeout_seconds).as_dict()},
        )
        answer = await self._guard.transport.handle_async_request(sent)
        try:
            if not isinstance(answer.stream, httpx2.AsyncByteStream):
                raise TypeError("an asynchronous transport gave a synchronous answer")
            success = 200 <= answer.status_code < 300
            if success:
                _check_kind(answer)
            content = bytearray()
            async for part in answer.stream:
                content += part
                if len(content) > tool.max_response_bytes:
                    if not success:
                        break  # what went wrong is said first
                    raise ToolFailed(
                        "too_large",
                        f"The service answered with more than the tool's limit of {tool.max_response_bytes:,} bytes.",
                        status=answer.status_code,
                    )
        finally:
            await answer.aclose()
        charset = answer.charset_encoding or "utf-8"
        return answer.status_code, answer.headers, _decoded(bytes(content), charset)

    def _refusal(self, status: int, headers: httpx2.Headers, text: str) -> ToolFailed:
        reason = httpx2.codes.get_reason_phrase(status)
        told = f"The service answered {status} {reason}".rstrip() + "."
        if 300 <= status < 400:
            told += " Redirects are not followed."
        elif text.strip() and _is_text(headers):
            shown = as_content(text, self._redactor)
            cut = "..." if len(shown) > MAX_CHARACTERS_OF_REFUSAL else ""
            told += f" Its words: {shown[:MAX_CHARACTERS_OF_REFUSAL]}{cut}"
        return ToolFailed(
            "http_error",
            told,
            status=status,
            retryable=is_retryable(status),
            retry_after=retry_after(headers),
        )

    def _result(self, tool: HttpTool, status: int, headers: httpx2.Headers, text: str) -> CallToolResult:
        value: JsonValue = storable(text)
        if _is_json(headers) or any(tool.assign.values()):
            try:
                value = parsed(text) if text.strip() else None
            except ValueError:
                raise ToolFailed("not_json", "The service answered with what is no JSON.", status=status) from None
            text = as_json(self._redactor.value(value)) if text.strip() else ""
        return CallToolResult(
            content=as_content(text, self._redactor) or f"Done: the service answered {status} without any words.",
            status=status,
            assigned=assigned(value, tool.assign, self._redactor),
        )


def _check_kind(answer: httpx2.Response) -> None:
    check_encoding(answer)
    if not _is_text(answer.headers) and answer.headers.get("content-length") != "0":
        kind = answer.headers["content-type"].partition(";")[0][:80]
        message = f"The service answered with {kind}; tools read JSON and text only."
        raise ToolFailed("not_text", message, status=answer.status_code)


def _kind(headers: httpx2.Headers) -> str:
    return headers.get("content-type", "text/plain").partition(";")[0].strip().lower()


def _is_json(headers: httpx2.Headers) -> bool:
    kind = _kind(headers)
    return kind == "application/json" or kind.endswith("+json")


def _is_text(headers: httpx2.Headers) -> bool:
    kind = _kind(headers)
    return kind.startswith("text/") or _is_json(headers) or kind.endswith(("/xml", "+xml", "/yaml", "/x-ndjson"))


def _decoded(content: bytes, charset: str) -> str:
    try:
        return content.decode(charset, errors="replace")
    except (LookupError, ValueError):  # no such encoding, or one that is none of text
        return content.decode(errors="replace")
