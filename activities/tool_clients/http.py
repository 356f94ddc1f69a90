"""HTTP tools: one guarded request to a web service, limited in time and size, with credentials redacted."""

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
from activities.tool_clients.responses import (
    assigned_variables,
    check_encoding,
    compact_json,
    parse_json,
    replace_unstorable,
    to_content,
)
from contracts.tools import CallToolResult
from domain.agents.tools import HttpTool

MAX_ERROR_BODY_CHARACTERS = 2_000
"""Upper bound on the part of an error response that the model sees."""

log = logging.getLogger(__name__)


class HttpTools:
    """Client of web services. Credentials are looked up by name, and are only sent in requests."""

    def __init__(self, *, guard: EgressGuard, credentials: Credentials) -> None:
        self._guard = guard
        self._credentials = credentials
        self._redactor = Redactor(credentials.all_values())

    async def run(self, call: ToolCall, tool: HttpTool) -> CallToolResult:
        """Make one attempt at a call. Raises ToolFailed."""
        check_arguments(tool.parameters, call.arguments)
        request = http_request(call, tool, secrets_of(tool, self._credentials.for_organization(call.organization_id)))
        try:
            async with asyncio.timeout(tool.timeout_seconds):
                status, headers, text = await self._exchange(request, tool)
        except (TimeoutError, httpx2.TimeoutException):
            message = f"The service did not answer within {tool.timeout_seconds:g} seconds."
            raise ToolFailed("timeout", message, retryable=True) from None
        except httpx2.InvalidURL:
            raise ToolFailed("invalid_arguments", "The call was not made: its address would not be valid.") from None
        except httpx2.TransportError as error:
            log.warning("the tool %s was not answered: %s", call.name, self._redactor.redact_text(repr(error)))
            raise ToolFailed("connection_failed", "The connection to the service failed.", retryable=True) from None
        except EgressDenied as error:
            log.warning("the tool %s was not called: %s", call.name, error)
            raise ToolFailed(
                "refused_address", "The call was not made: tools may not reach the address of this service."
            ) from None
        if not 200 <= status < 300:
            raise self._http_error(status, headers, text)
        return self._result(tool, status, headers, text)

    async def _exchange(self, request: ToolRequest, tool: HttpTool) -> tuple[int, httpx2.Headers, str]:
        """Send a request and read its response up to the tool's size limit. Redirects are not followed."""
        sent = httpx2.Request(
            request.method,
            request.url,
            headers=list(request.headers),
            content=request.body or None,
            extensions={"timeout": httpx2.Timeout(tool.timeout_seconds).as_dict()},
        )
        response = await self._guard.transport.handle_async_request(sent)
        try:
            if not isinstance(response.stream, httpx2.AsyncByteStream):
                raise TypeError("an asynchronous transport gave a synchronous response")
            success = 200 <= response.status_code < 300
            if success:
                _check_content_type(response)
            content = bytearray()
            async for part in response.stream:
                content += part
                if len(content) > tool.max_response_bytes:
                    if not success:
                        break  # the error is reported, not its size
                    raise ToolFailed(
                        "too_large",
                        f"The service answered with more than the tool's limit of {tool.max_response_bytes:,} bytes.",
                        status=response.status_code,
                    )
        finally:
            await response.aclose()
        charset = response.charset_encoding or "utf-8"
        return response.status_code, response.headers, _decode(bytes(content), charset)

    def _http_error(self, status: int, headers: httpx2.Headers, text: str) -> ToolFailed:
        reason = httpx2.codes.get_reason_phrase(status)
        message = f"The service answered {status} {reason}".rstrip() + "."
        if 300 <= status < 400:
            message += " Redirects are not followed."
        elif text.strip() and _is_text(headers):
            shown = to_content(text, self._redactor)
            cut = "..." if len(shown) > MAX_ERROR_BODY_CHARACTERS else ""
            message += f" Its response: {shown[:MAX_ERROR_BODY_CHARACTERS]}{cut}"
        return ToolFailed(
            "http_error",
            message,
            status=status,
            retryable=is_retryable(status),
            retry_after=retry_after(headers),
        )

    def _result(self, tool: HttpTool, status: int, headers: httpx2.Headers, text: str) -> CallToolResult:
        value: JsonValue = replace_unstorable(text)
        if _is_json(headers) or any(tool.assign.values()):
            try:
                value = parse_json(text) if text.strip() else None
            except ValueError:
                raise ToolFailed("not_json", "The response of the service is not valid JSON.", status=status) from None
            text = compact_json(self._redactor.redact_value(value)) if text.strip() else ""
        return CallToolResult(
            content=to_content(text, self._redactor) or f"Done: the service answered {status} without content.",
            status=status,
            assigned=assigned_variables(value, tool.assign, self._redactor),
        )


def _check_content_type(response: httpx2.Response) -> None:
    check_encoding(response)
    if not _is_text(response.headers) and response.headers.get("content-length") != "0":
        kind = response.headers["content-type"].partition(";")[0][:80]
        message = f"The service answered with {kind}; tools read JSON and text only."
        raise ToolFailed("not_text", message, status=response.status_code)


def _content_type(headers: httpx2.Headers) -> str:
    return headers.get("content-type", "text/plain").partition(";")[0].strip().lower()


def _is_json(headers: httpx2.Headers) -> bool:
    kind = _content_type(headers)
    return kind == "application/json" or kind.endswith("+json")


def _is_text(headers: httpx2.Headers) -> bool:
    kind = _content_type(headers)
    return kind.startswith("text/") or _is_json(headers) or kind.endswith(("/xml", "+xml", "/yaml", "/x-ndjson"))


def _decode(content: bytes, charset: str) -> str:
    try:
        return content.decode(charset, errors="replace")
    except (LookupError, ValueError):  # an unknown encoding, or one that is not for text
        return content.decode(errors="replace")
