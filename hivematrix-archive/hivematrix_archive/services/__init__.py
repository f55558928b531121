"""Use cases: load, call the domain, save, commit once."""

from hivematrix_archive.store import engine, session, single_reads

__all__ = ["engine", "session", "single_reads"]
