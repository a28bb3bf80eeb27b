"""The package's logger: it says what was done to the user's data, and stays silent where nobody listens."""

import logging

__all__ = ["log"]

log = logging.getLogger("bayesjoint")
