"""python -m engine, for development; the documented way is the `penstock` command."""

from .cli import main

main()
