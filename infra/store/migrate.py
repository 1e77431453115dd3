"""Upgrades a database to the newest schema with Alembic."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from infra.store.engine import make_engine

_SCRIPTS = Path(__file__).with_name("migrations")
_LOCK_ID = 0x6262_6772


def _config(conn: Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS))
    config.attributes["connection"] = conn
    return config


def upgrade(database_url: str) -> None:
    """Run all pending migrations. It is safe to call this again, and from several processes at once."""
    engine = make_engine(database_url, pooled=True, timeouts=False)
    try:
        with engine.begin() as conn:
            conn.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK_ID})")
            command.upgrade(_config(conn), "head")
    finally:
        engine.dispose()


def pending(conn: Connection) -> bool:
    """Return whether the database lacks a migration of this release."""
    current = MigrationContext.configure(conn).get_current_revision()
    return current != ScriptDirectory.from_config(_config()).get_current_head()
