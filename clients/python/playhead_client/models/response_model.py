"""The base class of every value that the API returns: immutable, and tolerant of fields that a newer API adds."""

from decimal import Decimal
from typing import Annotated

from pydantic import BaseModel, ConfigDict, PlainSerializer

Money = Annotated[Decimal, PlainSerializer(lambda amount: f"{amount:f}", return_type=str, when_used="json")]
"""An amount of US dollars. Its JSON form is a plain decimal in a string, as the API writes it, never `1E-7`."""


class ResponseModel(BaseModel):
    """A frozen value of the API. Fields that this version of the client does not know are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")
