"""The form of every value that Temporal or the store keeps: immutable, and readable by older and newer code."""

from pydantic import BaseModel, ConfigDict


class FrozenModel(BaseModel):
    """A frozen model whose JSON form outlives the code that wrote it.

    New fields need a default, so that old records still load; unknown fields are ignored, so that a
    record written by a newer worker can be read by an older one during a rolling deployment. A default
    never changes: what is said by default is left out of what goes through Temporal.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")
