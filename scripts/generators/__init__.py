"""Each module makes what it is named for from the code; ``scripts/docs.py`` writes it."""
