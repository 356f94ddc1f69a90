"""Documents that agents search."""

from datetime import datetime
from typing import Literal

from playhead_client.models.response_model import ResponseModel


class Document(ResponseModel):
    """A document without its text. `names` are those under which it is the newest upload.

    `passages` counts the parts that a search can find; `pages` is null unless the format has pages.
    """

    sha256: str
    names: tuple[str, ...]
    format: Literal["markdown", "text", "html", "pdf"]
    bytes: int
    characters: int
    pages: int | None
    passages: int
    created_at: datetime
