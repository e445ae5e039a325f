"""The command line. Nothing heavy is imported before a command runs: help and usage errors answer at once."""

from fivefold.cli.run import main

__all__ = ["main"]
