"""Alembic's environment for every service: one connection, one transaction, the version table in its own schema."""

from alembic import context

connection = context.config.attributes["connection"]
context.configure(connection=connection, version_table_schema="migrations", transaction_per_migration=False)
with context.begin_transaction():
    context.run_migrations()
