"""PSAs and RMMs, one folder each: a client that speaks to it, and a mapping of what it says."""
