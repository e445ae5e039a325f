"""`python -m fivefold`: the command line."""

from fivefold.cli import main

main()
