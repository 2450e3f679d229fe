"""`python -m saga` is the command `saga`."""

from saga.surfaces.cli import main

main()
