# Generated from _async/documents.py by scripts/generate_sync_client.py; change that file instead.
"""Documents: calls of the blocking client."""

from collections.abc import Iterator

from playhead_client._sync.transport import Resource
from playhead_client.calls import Call, Listing, get, nothing, path_of
from playhead_client.models.documents import Document

DOCUMENTS = path_of("documents")


class Documents(Resource):
    """Documents that agents search: upload, list, read and erase them."""

    def upload(self, name: str, content: bytes) -> Document:
        """Store a file: Markdown, plain text, HTML or PDF, by the extension of its name. A content is stored once."""
        headers = {"Content-Type": "application/octet-stream"}
        return self._transport.send(
            Call("POST", DOCUMENTS, Document.model_validate_json, {"name": name}, content, headers, repeatable=True)
        )

    def list(self, *, limit: int | None = None) -> Iterator[Document]:
        """List the documents of the organization, newest first."""
        return self._transport.items(Listing(DOCUMENTS, Document, limit=limit))

    def get(self, sha256: str) -> Document:
        """Return a document by the SHA-256 of its file."""
        return self._transport.send(get(path_of("documents", sha256), Document))

    def erase(self, sha256: str) -> None:
        """Erase a document with its passages. Agents that search it find nothing in it any more."""
        self._transport.send(Call("DELETE", path_of("documents", sha256), nothing, repeatable=True))
