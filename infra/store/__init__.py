"""The store: Postgres through SQLAlchemy and psycopg. Used by workers and functions, never by the edge."""
