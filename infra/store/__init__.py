"""The store: Postgres through SQLAlchemy and psycopg. Workers and functions use it, the edge never does."""
