"""Fixtures of the live delivery tests: the databases of the store's tests."""

from tests.store.conftest import database, kind, migrated_file, migrated_postgres, other_process, postgres, url

__all__ = ["database", "kind", "migrated_file", "migrated_postgres", "other_process", "postgres", "url"]
