"""Activations that a checkpoint names by their place in torch."""

from __future__ import annotations

from torch import nn

from model_types.errors import ModelUnavailable


def activation(path: str) -> nn.Module:
    """The activation at a path such as `torch.nn.modules.activation.Tanh`.

    Raises `ModelUnavailable` where that is no module of torch: nobody else's code is run for a name.
    """
    module, _, name = path.rpartition(".")
    known = getattr(nn, name, None) if module.startswith("torch.nn") else None
    if not (isinstance(known, type) and issubclass(known, nn.Module)):
        raise ModelUnavailable(f"the activation {path} is none of torch's")
    return known()
