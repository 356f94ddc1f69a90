"""The database: connections, tables, column types and pagination, on SQLite and PostgreSQL."""
