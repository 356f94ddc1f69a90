"""Values that the API takes and returns, with the fields of its OpenAPI document."""
