"""Routes of documents that agents search: upload, list, get, erase."""

from functools import partial
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Query, Request
from starlette.responses import Response

from api.http.body_limit import DOCUMENTS_PATH
from api.http.problems import error_docs, not_found
from api.http.responses import (
    READ_ERRORS,
    json_response,
    page_within_bytes,
    rendered_as,
    response_docs,
)
from api.routes.dependencies import Cursor, Limit, Organization, ServicesDep, accepting_commands
from api.schemas import examples
from api.schemas.responses import Document, PageOf
from domain.agents.document_files import MAX_FILE_NAME_CHARACTERS

router = APIRouter(prefix=DOCUMENTS_PATH, tags=["documents"])

Sha256 = Annotated[str, Path(pattern=r"^[0-9a-f]{64}$", description="SHA-256 of the file, in hexadecimal digits.")]
_FILE: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "description": "The file as it is. The ending of its name decides its format, whatever its Content-Type.",
        "content": {
            "application/octet-stream": {
                "schema": {"type": "string", "format": "binary"},
                "example": "# Fees\nTwenty cents for each day that a book is late.\n",
            }
        },
    }
}


@router.post(
    "",
    status_code=201,
    response_model=Document,
    dependencies=[accepting_commands],
    openapi_extra=_FILE,
    responses=response_docs(
        *(
            "invalid_document",
            "invalid_request",
            "unauthenticated",
            "too_many_documents",
            "too_large",
            "unsupported_media_type",
            "validation_error",
            "rate_limited",
            "not_found",
            "unavailable",
        ),
        status=201,
        description="The document",
        example=examples.DOCUMENT,
        also={200: {"model": Document, "description": "The document, whose content was stored already."}},
    ),
)
async def upload_document(
    request: Request,
    organization: Organization,
    services: ServicesDep,
    name: Annotated[
        str, Query(min_length=1, max_length=MAX_FILE_NAME_CHARACTERS, description="The file's name, such as faq.md.")
    ],
) -> Response:
    """Store a document of at most 8 MiB: Markdown, plain text, HTML or PDF. The same content is stored once.

    Agents that are stored later and name this file get it; agents that are stored already keep theirs.
    """
    stored, is_new = await services.documents.upload(organization, name, await request.body())
    status, location = (201, f"{DOCUMENTS_PATH}/{stored.sha256}") if is_new else (200, None)
    return json_response(Document.model_validate(stored), status=status, location=location)


@router.get(
    "",
    response_model=PageOf[Document],
    responses=response_docs("invalid_request", *READ_ERRORS, example=examples.page_of(examples.DOCUMENT)),
)
async def list_documents(
    organization: Organization, services: ServicesDep, limit: Limit = 50, cursor: Cursor = None
) -> Response:
    """The documents of the organization, newest first."""
    fetch = partial(services.document_store.list, organization)
    return await page_within_bytes(fetch, limit, cursor, rendered_as(Document))


@router.get(
    "/{sha256}",
    response_model=Document,
    responses=response_docs("not_found", *READ_ERRORS, example=examples.DOCUMENT),
)
async def get_document(sha256: Sha256, organization: Organization, services: ServicesDep) -> Response:
    """One document, without its text."""
    found = await services.document_store.find(organization, sha256)
    if found is None:
        raise not_found("document", sha256)
    return json_response(Document.model_validate(found))


@router.delete(
    "/{sha256}",
    status_code=204,
    response_class=Response,
    dependencies=[accepting_commands],
    responses=error_docs("not_found", *READ_ERRORS),
)
async def erase_document(sha256: Sha256, organization: Organization, services: ServicesDep) -> Response:
    """Erase a document and its passages. Agents that search it stay, and find nothing in it any more."""
    await services.documents.erase(organization, sha256)
    return Response(status_code=204)
