"""Suites for `replicate` 1.0.7, which is built on pydantic v1; each runs by its own pytest."""
