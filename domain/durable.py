"""Base model of all persisted values: immutable, and readable by older and newer code."""

from pydantic import BaseModel, ConfigDict


class FrozenModel(BaseModel):
    """A frozen model whose JSON outlives the code that wrote it.

    New fields need a default, so that old records still load. Unknown fields are ignored, so that an older worker can
    read records of a newer one during a rolling deployment. A default never changes: Temporal payloads omit values
    that are equal to the default.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    def __eq__(self, other: object) -> bool:
        return self is other or super().__eq__(other)

    def __hash__(self) -> int:
        """Equal models have equal hashes. Values without a hash, such as dictionaries, are ignored.

        Models are hashable because pydantic deep-copies unhashable defaults for every object that it creates: without
        copies of an empty usage and an empty cost, a turn is read in half the time.
        """
        return hash((type(self), *map(_hash_of, self.__dict__.values())))


def _hash_of(value: object) -> int:
    try:
        return hash(value)
    except TypeError:
        return 0
