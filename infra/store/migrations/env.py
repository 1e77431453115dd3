"""Alembic's entry point. The connection comes from `infra.store.migrate`."""

from alembic import context

from infra.store.models import Base

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=Base.metadata)
with context.begin_transaction():
    context.run_migrations()
