"""Values every service shares. Pure: the standard library and orjson (values to bytes), nothing else."""
