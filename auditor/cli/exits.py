"""Exit codes of the command line."""

OK = 0
SOME_ERRORED = 1
"""Some trial errored, or a file could not be read or written."""
USAGE = 2
"""The command or a scenario is wrong."""
STOPPED = 3
"""A limit of the run as a whole was reached, or a model's server is away."""
INTERRUPTED = 130
"""Ctrl-C."""
