"""The API's Temporal client: sessions as workflows, errors, deletion and availability."""
