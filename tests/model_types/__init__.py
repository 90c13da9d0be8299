"""Tests of model types, with a torchvision that can be imported for what they take from transformers."""

from model_types import torchvision_ops

torchvision_ops.install()
