"""Base model of all persisted values: immutable, and readable by older and newer code."""

from pydantic import BaseModel, ConfigDict


class FrozenModel(BaseModel):
    """A frozen model whose JSON outlives the code that wrote it.

    New fields need a default, so that old records still load. Unknown fields are ignored, so that an older worker can
    read records of a newer one during a rolling deployment. A default never changes: Temporal payloads omit values
    that are equal to the default.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")
