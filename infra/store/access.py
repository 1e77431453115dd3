"""Closes a schema, its tables and its functions to everybody but their owner, as soon as they are made."""

from collections.abc import Collection

from sqlalchemy import Connection, text

_OBJECTS = text(
    """
    SELECT c.oid FROM pg_class c
    WHERE c.relnamespace = to_regnamespace(quote_ident(:schema)) AND c.relkind IN ('r', 'p', 'v', 'm', 'S')
    UNION ALL
    SELECT p.oid FROM pg_proc p WHERE p.pronamespace = to_regnamespace(quote_ident(:schema))
    UNION ALL
    SELECT n.oid FROM pg_namespace n WHERE n.nspname = :schema
    """
)
_CLOSE = text(
    """
    (
        SELECT format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', c.oid::regclass)
        FROM pg_class c
        WHERE c.oid = ANY(CAST(:oids AS oid[])) AND c.relkind IN ('r', 'p') AND NOT c.relrowsecurity
        ORDER BY c.oid
    )
    UNION ALL
    SELECT DISTINCT format(
        'REVOKE ALL ON %s FROM %s', c.oid::regclass,
        CASE g.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(g.grantee)) END
    )
    FROM pg_class c CROSS JOIN LATERAL aclexplode(c.relacl) g
    WHERE c.oid = ANY(CAST(:oids AS oid[])) AND g.grantee <> c.relowner
    UNION ALL
    SELECT DISTINCT format(
        'REVOKE ALL ON FUNCTION %s FROM %s', p.oid::regprocedure,
        CASE g.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(g.grantee)) END
    )
    FROM pg_proc p CROSS JOIN LATERAL aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) g
    WHERE p.oid = ANY(CAST(:oids AS oid[])) AND g.grantee <> p.proowner
    UNION ALL
    SELECT DISTINCT format(
        'REVOKE ALL ON SCHEMA %I FROM %s', n.nspname,
        CASE g.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(g.grantee)) END
    )
    FROM pg_namespace n CROSS JOIN LATERAL aclexplode(n.nspacl) g
    WHERE n.oid = ANY(CAST(:oids AS oid[])) AND g.grantee <> n.nspowner
    """
)


def objects(conn: Connection, schema: str) -> set[int]:
    """Return the ids of the schema, its tables, views, sequences and functions."""
    return set(conn.execute(_OBJECTS, {"schema": schema}).scalars())


def close(conn: Connection, made: Collection[int]) -> None:
    """Enable row-level security on what has just been made, and revoke what others may do with it.

    Tables are locked in the order in which they were made, profiles first, as senders lock them: otherwise
    each would wait for the other.
    Default privileges of the database may have granted it to anybody: to Supabase's API roles, for example.
    """
    for statement in conn.execute(_CLOSE, {"oids": list(made)}).scalars().all():
        conn.exec_driver_sql(statement)
