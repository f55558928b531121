"""Use cases: load, call the domain, save, commit once."""

from hivematrix_archive.store import engine, session

__all__ = ["engine", "session"]
