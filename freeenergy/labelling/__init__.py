"""The verb ``drupe label``: its input file, its graph of tasks, its command."""
