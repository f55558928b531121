"""One module per thing outside that Helm drives: processes, PostgreSQL, files of the mesh, its control socket."""
