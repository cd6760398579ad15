"""``python -m hpa_cells`` is the console program, where that is not on the path."""

from hpa_cells.commands.app import main

main()
