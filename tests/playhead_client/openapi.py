"""The OpenAPI document of the API, as the tests of the client read it."""

from collections.abc import Iterator
from typing import Any

Schema = dict[str, Any]  # Any: JSON schema


class Document:
    """An OpenAPI document, and questions about its operations."""

    def __init__(self, document: Schema) -> None:
        self.components: dict[str, Schema] = document["components"]["schemas"]
        self.operations: dict[str, Schema] = {
            f"{method.upper()} {path}": operation
            for path, methods in document["paths"].items()
            if path.startswith("/v1/")
            for method, operation in methods.items()
        }
        """Operations of the API's own protocol, by method and path."""

    def fields_of_body(self, operation: Schema) -> set[str]:
        """The fields of a JSON body."""
        schema = operation["requestBody"]["content"]["application/json"]["schema"]
        return {name for found in self._resolved(schema) for name in found.get("properties", ())}

    def choices_of_body(self, operation: str, field: str) -> set[str]:
        """The values of a field of a JSON body."""
        schema = self.operations[operation]["requestBody"]["content"]["application/json"]["schema"]
        return self._choices(next(self._resolved(schema))["properties"][field])

    def choices_of_query(self, operation: str, name: str) -> set[str]:
        """The values of a query parameter."""
        parameters = {each["name"]: each["schema"] for each in self.operations[operation]["parameters"]}
        return self._choices(parameters[name])

    def _choices(self, schema: Schema) -> set[str]:
        return {value for found in self._resolved(schema) for value in found.get("enum", ())}

    def _resolved(self, schema: Schema) -> Iterator[Schema]:
        """The alternatives of a schema, without references."""
        if "$ref" in schema:
            yield from self._resolved(self.components[schema["$ref"].rpartition("/")[2]])
        elif "anyOf" in schema:
            for option in schema["anyOf"]:
                yield from self._resolved(option)
        else:
            yield schema
