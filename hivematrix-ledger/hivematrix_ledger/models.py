"""Ledger's database. Its tables are described by the migrations; every query is SQL in store/."""

from hivematrix_common.database import new_db

db = new_db()
