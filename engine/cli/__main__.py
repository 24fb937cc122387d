"""python -m engine.cli: the command without its script, for processes it starts itself."""

from . import main

main()
