"""The command line. Every command is a thin call on the library."""

from auditor.cli.app import app, main

__all__ = ["app", "main"]
