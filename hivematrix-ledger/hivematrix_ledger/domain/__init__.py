"""How a bill comes about. Pure: the standard library, this package and hivematrix_common.domain; no clock, no files."""
