"""A content-addressed store for large arrays, and the scientific cache on top of it."""

from drystone._drystone import *  # noqa: F403
