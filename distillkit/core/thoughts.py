"""What a reasoning model says after what it thinks, where it writes both into one text."""

BEGIN = "<think>"
END = "</think>"


def spoken(text: str) -> str:
    """What follows the last thought, "" where that was cut or nothing follows it."""
    _, ended, said = text.rpartition(END)
    if not ended and text.lstrip().startswith(BEGIN):
        return ""
    return said.strip()
