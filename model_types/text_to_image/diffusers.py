"""The diffusers engine: images of like size and steps share a pass, each with a seed of its own."""

from __future__ import annotations

import gc
import secrets
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import torch
from PIL import Image

from model_types import weights
from model_types.base import Failure, ModelType, OutputFile, VersionSpec
from model_types.batching import release_cached_memory
from model_types.text_to_image import pipelines
from model_types.text_to_image.generation import Generation, Mode, output_size
from model_types.text_to_image.pipelines import Pipeline
from model_types.text_to_image.schema import MIN_SIDE_PIXELS, Input

# What drawing takes beside the weights, at most: decoding the latents of Stable Diffusion took 4,300 bytes
# for each pixel in float32.
BYTES_PER_PIXEL = 8192
# Of the memory that is free once the weights are there.
MEMORY_SHARE = 0.8
# Without an accelerator a batch is not quicker than its images one by one, and the first comes later.
CPU_PASS_PIXELS = 512 * 512
WARM_UP_STEPS = 2

UNSAFE = Failure("unsafe_output", "The model's safety checker has refused what was drawn.")

_CANNOT: dict[Mode, str] = {
    "text": "this model only paints within a mask: give it an image and a mask",
    "image": "this model cannot begin from an image",
    "inpainting": "this model cannot paint within a mask",
}


class PassCancelled(Exception):
    """Everybody in this pass has been cancelled."""


class Diffusers(ModelType):
    """Any checkpoint that diffusers' AutoPipeline knows, from its safetensors."""

    _pipelines: Mapping[Mode, Pipeline]
    _native_side: int
    _pass_pixels: int

    @property
    def pass_budget(self) -> int:
        """In pixels of all images together."""
        return self._option("pass_budget", self._pass_pixels)

    @property
    def pads(self) -> bool:
        return False

    def load(self, version: VersionSpec, device: str) -> None:
        self.spec = version
        if (threads := version.options.get("threads")) is not None:
            torch.set_num_threads(int(threads))
        self._pipelines = pipelines.load(version, device)
        self._native_side = pipelines.native_side_pixels(self._any_pipeline)
        self._pass_pixels = _pass_pixels(torch.device(device))

    def prepare(self, value: Any) -> Generation:
        """Choose the size and the seeds for an `Input`. `ValueError` where the model cannot do it."""
        request = Input.model_validate(value)
        image = request.image.content if request.image is not None else None
        mask = request.mask.content if request.mask is not None else None
        mode: Mode = "text" if image is None else "image" if mask is None else "inpainting"
        size = output_size(
            request.width,
            request.height,
            native_side=self._native_side,
            shape=None if image is None else image.size,
        )
        seed = secrets.randbits(62) if request.seed is None else request.seed
        generation = Generation(
            mode=mode,
            prompt=request.prompt,
            negative_prompt=request.negative_prompt,
            seeds=[seed + index for index in range(request.num_outputs)],
            width=size[0],
            height=size[1],
            steps=request.num_inference_steps,
            guidance_scale=request.guidance_scale,
            strength=request.strength,
            image=None if image is None else image.resize(size),
            mask=None if mask is None else mask.resize(size),
            output_format=request.output_format,
            output_quality=request.output_quality,
        )
        self._check(generation)
        return generation

    def predict(self, batch: Sequence[Generation]) -> Sequence[list[OutputFile] | Failure]:
        """Draw for generations whose keys are equal."""
        if not batch:
            return []
        try:
            result = self._draw(batch)
        except PassCancelled:
            return [Failure("canceled", "The prediction was cancelled.")] * len(batch)
        # None where the checkpoint brings no safety checker.
        flags = getattr(result, "nsfw_content_detected", None) or [False] * len(result.images)
        outcomes: list[list[OutputFile] | Failure] = []
        end = 0
        for generation in batch:
            start, end = end, end + len(generation.seeds)
            is_refused = any(flags[start:end])
            outcomes.append(UNSAFE if is_refused else generation.files(result.images[start:end]))
        return outcomes

    def size(self, prepared: Generation) -> int:
        return prepared.pixels

    def batch_key(self, prepared: Generation) -> Hashable:
        return prepared.key

    def cancel(self, prepared: Generation) -> None:
        prepared.cancelled = True

    def progress(self, prepared: Generation) -> float:
        return prepared.progress

    def warm_up(self) -> None:
        side = MIN_SIDE_PIXELS
        mode = next(iter(self._pipelines))
        nothing = Generation(mode, "", None, [0], side, side, steps=WARM_UP_STEPS)
        if mode == "inpainting":
            nothing.image, nothing.mask = Image.new("RGB", (side, side)), Image.new("L", (side, side))
        self._draw([nothing])

    def memory_bytes(self) -> int:
        return weights.memory_bytes(*pipelines.modules(self._any_pipeline).values())

    def unload(self) -> None:
        del self._pipelines
        gc.collect()
        release_cached_memory()

    @property
    def _any_pipeline(self) -> Pipeline:
        return next(iter(self._pipelines.values()))

    def _check(self, generation: Generation) -> None:
        pipeline = self._pipelines.get(generation.mode)
        if pipeline is None:
            missing = generation.mode if "text" in self._pipelines else "text"
            raise ValueError(_CANNOT[missing])
        parameters = pipeline.parameters
        for name in ("negative_prompt", "guidance_scale"):
            if getattr(generation, name) is not None and name not in parameters:
                raise ValueError(f"this model takes no {name}")
        if generation.mode != "text":
            steps = generation.steps or parameters["num_inference_steps"].default
            if int(steps * generation.strength) < 1:
                raise ValueError(f"of {steps} steps a strength of {generation.strength:g} leaves none")

    def _draw(self, batch: Sequence[Generation]) -> Any:
        """Run the pipeline once, with a row for each image: whatever diffusers returns."""
        first = batch[0]
        rows = [(generation, seed) for generation in batch for seed in generation.seeds]
        # On the CPU, whose random numbers are the same for every device and batch.
        generators = [torch.Generator("cpu").manual_seed(seed) for _, seed in rows]
        arguments: dict[str, Any] = {
            "prompt": [generation.prompt for generation, _ in rows],
            "generator": generators,
            "width": first.width,
            "height": first.height,
            "callback_on_step_end": _StepWatcher(batch),
        }
        if first.negative_prompt is not None:
            arguments["negative_prompt"] = [generation.negative_prompt for generation, _ in rows]
        if first.steps is not None:
            arguments["num_inference_steps"] = first.steps
        if first.guidance_scale is not None:
            arguments["guidance_scale"] = first.guidance_scale
        if first.mode != "text":
            arguments["image"] = [generation.image for generation, _ in rows]
            arguments["strength"] = first.strength
        if first.mode == "inpainting":
            arguments["mask_image"] = [generation.mask for generation, _ in rows]
        pipeline = self._pipelines[first.mode]
        # Some take their size from the image, and a few know no callback.
        taken = {name: value for name, value in arguments.items() if name in pipeline.parameters}
        return pipeline.run(**taken)


class _StepWatcher:
    """Called after each step of a pass: notes its progress, and ends it once nobody waits for it."""

    def __init__(self, batch: Sequence[Generation]) -> None:
        self._batch = batch
        for generation in batch:
            generation.progress = 0.0

    def __call__(self, run: Any, step: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        if all(generation.cancelled for generation in self._batch):
            raise PassCancelled
        for generation in self._batch:
            generation.progress = min(1.0, (step + 1) / run.num_timesteps)
        return tensors


def _pass_pixels(device: torch.device) -> int:
    """How many pixels may be drawn at once."""
    if device.type != "cuda":
        return CPU_PASS_PIXELS
    free_bytes, _ = torch.cuda.mem_get_info(device)
    return int(free_bytes * MEMORY_SHARE) // BYTES_PER_PIXEL
