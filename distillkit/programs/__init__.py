"""Programs: a CLI verb each. In a folder ``program.py`` is the story, the rest its parts."""
