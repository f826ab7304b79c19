"""A state in a PostgreSQL database: one row a record, written by whoever holds its lease."""
