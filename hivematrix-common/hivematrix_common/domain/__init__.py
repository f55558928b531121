"""Values every service shares. Pure: the standard library and orjson (a function from values to bytes), nothing else."""
