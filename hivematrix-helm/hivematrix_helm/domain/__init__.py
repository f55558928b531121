"""Rules of running a mesh. Pure: the standard library and this folder; clocks and processes are told to it."""
