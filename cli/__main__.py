"""`python -m cli` is `augury`."""

from cli.main import main

main()
