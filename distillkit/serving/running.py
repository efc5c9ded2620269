"""The HTTP server around an app."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn


class Running(uvicorn.Server):
    """uvicorn without handlers of its own: signals are the program's, who sets ``should_exit``."""

    def __init__(self, app: Any) -> None:
        super().__init__(uvicorn.Config(app, log_level="warning", access_log=False))

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """None."""
        yield
