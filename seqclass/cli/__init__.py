"""The command line: parses, calls the library, prints. Everything else is imported by the command that needs it."""

from seqclass.cli.main import main

__all__ = ["main"]
