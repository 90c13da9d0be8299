"""Why a model cannot serve."""

from __future__ import annotations


class ModelUnavailable(Exception):
    """The version cannot be loaded here; the message says which file and why."""


class DeviceLost(Exception):
    """The device is of no use to this process any more: whoever runs in it has to start anew."""
