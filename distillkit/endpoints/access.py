"""How a server is reached: its address, its key, and how patiently it is asked."""

from dataclasses import dataclass
from typing import ClassVar
from urllib.parse import urlsplit

from distillkit.core.bounds import MORE_THAN_ZERO, ZERO_OR_MORE, check_range
from distillkit.core.errors import ConfigError


@dataclass(kw_only=True, slots=True)
class Access:
    """Where a model is served. The key itself is no part of it."""

    FIELD: ClassVar[str] = "endpoint"
    NOT_IN_FINGERPRINT: ClassVar[tuple[str, ...]] = (
        *("url", "key_variable", "requests_per_minute", "patience_seconds", "timeout"),
    )
    """How a server is reached, which changes no reply."""

    url: str
    """Root of the server, such as http://127.0.0.1:8000/v1."""
    model: str
    """Name of the model there; a server of local models often wants its folder."""
    key_variable: str = "OPENAI_API_KEY"
    """Environment variable that holds the key, which is sent to ``url``; it may be unset."""
    requests_per_minute: float | None = None
    """Most requests in a minute, repeated ones included; null for no limit."""
    patience_seconds: float = 600.0
    """How long a server that is unreachable, overloaded or out of order is waited for."""
    timeout: float = 600.0
    """Seconds from a request to the last byte of its reply, after which it counts as failed."""

    def __post_init__(self) -> None:
        address, prefix = urlsplit(self.url), f"{self.FIELD}."
        if "@" in (address.netloc or self.url):
            raise ConfigError(
                f"{self.FIELD}.url holds a name or password. Put that into an environment variable "
                f"and name it in {self.FIELD}.key_variable."
            )
        if address.scheme not in ("http", "https") or not address.hostname:
            rule = "begin with http:// or https:// and a host"
            raise ConfigError(f"{prefix}url must {rule}, got {self.url}.")
        some = MORE_THAN_ZERO._replace(rule=f"{MORE_THAN_ZERO.rule}, or null for no limit")
        check_range(self, prefix, some, "requests_per_minute")
        check_range(self, prefix, ZERO_OR_MORE, "patience_seconds")
        check_range(self, prefix, MORE_THAN_ZERO, "timeout")
