"""Alembic's entry point. The connection and the schema come from `infra.store.migrate`."""

from alembic import context

from infra.store.models import Base

attributes = context.config.attributes
context.configure(
    connection=attributes["connection"],
    version_table_schema=attributes["schema"],
    target_metadata=Base.metadata,
)
with context.begin_transaction():
    context.run_migrations()
