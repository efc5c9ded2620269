"""What a check says: what was found, why it matters, and the override that mends it."""

from dataclasses import dataclass
from enum import StrEnum

from rich.console import RenderableType


class Severity(StrEnum):
    """How much a finding matters."""

    ok = "ok"
    """As it should be."""
    warning = "warning"
    """The run would go on, but maybe not as meant."""
    fatal = "fatal"
    """The run would stop, or could teach nothing."""
    skipped = "skipped"
    """Not looked at, because something that it needs has failed."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that a check found."""

    severity: Severity
    """How much it matters."""
    what: str
    """The finding, with its numbers; no full stop at the end."""
    why: str = ""
    """What would go wrong."""
    mend: str = ""
    """The override, or the other way out."""
    shown: RenderableType | None = None
    """Something to look at, such as a preview."""

    def sentence(self) -> str:
        """The finding and its way out on one line."""
        return " ".join(f"{part}." for part in (self.what, self.mend) if part)


def ok(what: str, *, shown: RenderableType | None = None) -> Finding:
    """A finding that is as it should be."""
    return Finding(Severity.ok, what, shown=shown)


def warning(what: str, *, why: str, mend: str) -> Finding:
    """A finding with which the run goes on, but maybe not as meant."""
    return Finding(Severity.warning, what, why, mend)


def fatal(what: str, *, why: str = "", mend: str = "") -> Finding:
    """A finding with which the run would stop, or could teach nothing."""
    return Finding(Severity.fatal, what.removesuffix("."), why, mend.removesuffix("."))
