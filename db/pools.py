"""Pools: the queue of a model type, `echo`, and those of its deployments, `echo@<deployment's id>`.

A pool's name tells which lanes serve it, so nobody needs to look up a deployment to ring its bell.
"""

from __future__ import annotations

# Sorts before letters and digits of ids do, and no model type's name has it.
_MARK = "@"


def deployment_pool(model_type: str, deployment_id: str) -> str:
    """The queue of a deployment whose version is of this model type."""
    return f"{model_type}{_MARK}{deployment_id}"


def is_deployment(pool: str) -> bool:
    """Whether this is a deployment's queue."""
    return _MARK in pool


def model_type_of(pool: str) -> str:
    """The model type whose lanes serve this pool, which is the bell that wakes them."""
    return pool.partition(_MARK)[0]


def deployment_pools(model_type: str) -> tuple[str, str]:
    """Names between which, in the bytes' order, lie those of the model type's deployments and no others."""
    return f"{model_type}{_MARK}", f"{model_type}{_MARK}~"
