"""Serves the naive server on the port given, with the settings of `python -m api`."""

from __future__ import annotations

from benchmarks.naive.app import app
from benchmarks.serving import serve

if __name__ == "__main__":
    serve(app)
