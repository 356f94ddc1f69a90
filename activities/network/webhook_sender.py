"""Sends webhooks: one guarded HTTP request, limited in time."""

import asyncio
import logging
from collections.abc import Mapping

import httpx2

from activities.network.egress_guard import EgressDenied, EgressGuard
from activities.network.http_responses import retry_after
from activities.network.interface import DeliveryFailed, WebhookResponse

RESPONSE_TIMEOUT_SECONDS = 20.0
"""Timeout of a receiver's response; Standard Webhooks recommends 15 to 30 seconds."""

log = logging.getLogger(__name__)


class WebhookSender:
    """Sends webhooks through the egress guard. Redirects are not followed."""

    def __init__(self, guard: EgressGuard) -> None:
        self._guard = guard

    async def send(self, url: str, headers: Mapping[str, str], body: bytes) -> WebhookResponse:
        """Send one request. Raises DeliveryFailed. The response's body is not read."""
        timeout = httpx2.Timeout(RESPONSE_TIMEOUT_SECONDS).as_dict()
        try:
            request = httpx2.Request("POST", url, headers=dict(headers), content=body, extensions={"timeout": timeout})
            async with asyncio.timeout(RESPONSE_TIMEOUT_SECONDS):
                answer = await self._guard.transport.handle_async_request(request)
                await answer.aclose()
        except (TimeoutError, httpx2.TimeoutException):
            raise DeliveryFailed(f"The receiver did not answer within {RESPONSE_TIMEOUT_SECONDS:g} seconds.") from None
        except httpx2.InvalidURL:
            raise DeliveryFailed("The receiver's address is not valid.") from None
        except httpx2.TransportError as error:
            log.warning("the receiver of a webhook was not reached: %r", error)
            raise DeliveryFailed("The connection to the receiver failed.") from None
        except EgressDenied as error:
            log.warning("a webhook was not sent: %s", error)
            raise DeliveryFailed("Webhooks may not reach the receiver's address.") from None
        reason = httpx2.codes.get_reason_phrase(answer.status_code)
        return WebhookResponse(answer.status_code, reason, retry_after(answer.headers))
