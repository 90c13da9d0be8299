"""Diffusers' pipelines over one copy of a checkpoint's weights, one for each way to begin an image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from inspect import Parameter, signature
from typing import Any

import diffusers
import torch
from diffusers import AutoPipelineForImage2Image, AutoPipelineForInpainting, AutoPipelineForText2Image
from diffusers.utils import logging as diffusers_logging
from transformers.utils import logging as transformers_logging

from model_types import weights
from model_types.base import VersionSpec
from model_types.errors import ModelUnavailable
from model_types.text_to_image.generation import Mode

# An inpainting checkpoint's network sees the latents, the masked image's latents, and the mask.
INPAINTING_CHANNELS = 9
DEFAULT_NATIVE_SIDE_PIXELS = 1024
DEFAULT_VAE_SCALE = 8


@dataclass(frozen=True)
class Pipeline:
    """One way to draw. Schedulers keep the state of a run, and all pipelines share one: one run at a time."""

    # Any: diffusers has a class for each architecture, without a common type for calling them.
    run: Any

    @cached_property
    def parameters(self) -> Mapping[str, Parameter]:
        """What a run takes."""
        return signature(self.run.__call__).parameters


def load(version: VersionSpec, device: str) -> dict[Mode, Pipeline]:
    """What a checkpoint can do: all of it with the same weights, on `device`. Raises `ModelUnavailable`."""
    diffusers_logging.disable_progress_bar()
    transformers_logging.disable_progress_bar()
    where = weights.source(version, config="model_index.json")
    path = where.pop("pretrained_model_name_or_path")
    with weights.reasons(version):
        text = AutoPipelineForText2Image.from_pretrained(
            path,
            dtype=_dtype(version, device),
            variant=version.options.get("variant"),
            **where,
            use_safetensors=True,
        )
        _check_complete(version.path, Pipeline(text))
        _tune(text, version)
        text.to(device)
        pipelines = _linked(text)
    for pipeline in pipelines.values():
        pipeline.run.set_progress_bar_config(disable=True)
    return pipelines


def native_side_pixels(pipeline: Pipeline) -> int:
    """The side of the square that the checkpoint was trained to draw, as far as it tells."""
    run = pipeline.run
    denoiser = _denoiser(run)
    side = getattr(run, "default_sample_size", None) or getattr(denoiser.config, "sample_size", None)
    if not isinstance(side, int):
        return DEFAULT_NATIVE_SIDE_PIXELS
    return side * int(getattr(run, "vae_scale_factor", DEFAULT_VAE_SCALE))


def modules(pipeline: Pipeline) -> dict[str, torch.nn.Module]:
    """The neural networks of a pipeline by their names in it, such as `unet`."""
    parts = pipeline.run.components.items()
    return {name: part for name, part in parts if isinstance(part, torch.nn.Module)}


def _linked(text: Any) -> dict[Mode, Pipeline]:
    """The pipelines that this checkpoint's architecture has, over the same components."""
    pipelines: dict[Mode, Pipeline] = {}
    if getattr(_denoiser(text).config, "in_channels", None) != INPAINTING_CHANNELS:
        pipelines["text"] = Pipeline(text)
        if (image := _from_pipe(AutoPipelineForImage2Image, text)) is not None:
            pipelines["image"] = image
    if (inpainting := _from_pipe(AutoPipelineForInpainting, text)) is not None:
        pipelines["inpainting"] = inpainting
    return pipelines


def _from_pipe(auto_class: Any, text: Any) -> Pipeline | None:
    try:
        pipeline = Pipeline(auto_class.from_pipe(text))
    except ValueError:  # Diffusers' word for an architecture without such a pipeline.
        return None
    # Those without a strength edit by instruction, and take a list of images as several for one prompt.
    return pipeline if "strength" in pipeline.parameters else None


def _check_complete(path: str, pipeline: Pipeline) -> None:
    """Refuse weights that do not fill the networks: diffusers leaves the rest of them empty."""
    for name, network in modules(pipeline).items():
        lacking = [key for key, tensor in network.named_parameters() if tensor.is_meta]
        if lacking:
            raise ModelUnavailable(f"the weights in {path} lack {lacking[0]} of the {name}")


def _denoiser(run: Any) -> Any:
    return getattr(run, "unet", None) or run.transformer


def _dtype(version: VersionSpec, device: str) -> torch.dtype:
    name = weights.dtype(version, device)
    # "auto" would be float32 here: diffusers does not look at what the weights are stored in.
    dtype = getattr(torch, "float16" if name == "auto" else name)
    assert isinstance(dtype, torch.dtype)
    return dtype


def _tune(run: Any, version: VersionSpec) -> None:
    """Apply the options `scheduler`, `attention_slicing`, `vae_slicing` and `vae_tiling`."""
    if (name := version.options.get("scheduler")) is not None:
        scheduler = getattr(diffusers, str(name), None)
        if not (isinstance(scheduler, type) and issubclass(scheduler, diffusers.SchedulerMixin)):
            raise ModelUnavailable(f"diffusers has no scheduler {name!r}")
        run.scheduler = scheduler.from_config(run.scheduler.config)
    if version.options.get("attention_slicing"):
        run.enable_attention_slicing()
    if version.options.get("vae_slicing"):
        run.vae.enable_slicing()
    if version.options.get("vae_tiling"):
        run.vae.enable_tiling()
