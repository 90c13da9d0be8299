"""What stops a command."""

from __future__ import annotations

import click


class Fault(click.ClickException):
    """Something the operator has to know, in one sentence; printed as it is, and the command exits with 1."""
