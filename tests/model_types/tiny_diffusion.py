"""A Stable Diffusion of 250,000 random parameters: it draws noise where the large ones draw cats."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from diffusers.utils import logging as diffusers_logging
from transformers import CLIPConfig, CLIPImageProcessor, CLIPTextConfig, CLIPTextModel, CLIPTokenizer
from transformers.utils import logging as transformers_logging

NATIVE_SIDE_PIXELS = 64
PROMPT_TOKENS = 16


def build(folder: Path, *, unet_channels: int = 4, is_prudish: bool = False) -> None:
    """Write its pipeline's folder.

    An inpainting network has 9 `unet_channels`. One that `is_prudish` has a safety checker, which refuses
    everything.
    """
    transformers_logging.disable_progress_bar()
    diffusers_logging.disable_progress_bar()
    torch.manual_seed(0)
    tokenizer, text_encoder = _text()
    # Any: not all of its methods are known to type checkers.
    pipeline: Any = StableDiffusionPipeline(
        tokenizer=tokenizer,
        text_encoder=text_encoder,
        unet=_unet(unet_channels),
        vae=_vae(),
        scheduler=DDIMScheduler(
            beta_schedule="scaled_linear",
            beta_start=0.00085,
            beta_end=0.012,
            steps_offset=1,
            clip_sample=False,
            set_alpha_to_one=False,
        ),
        safety_checker=_prude() if is_prudish else None,
        feature_extractor=CLIPImageProcessor(size=32, crop_size=32) if is_prudish else None,
        requires_safety_checker=is_prudish,
    )
    pipeline.save_pretrained(folder)


def _text() -> tuple[CLIPTokenizer, CLIPTextModel]:
    """Each character is a token."""
    characters = [chr(code) for code in range(33, 127)]
    tokens = ["<|startoftext|>", "<|endoftext|>", *characters, *(f"{one}</w>" for one in characters)]
    tokenizer = CLIPTokenizer(
        vocab={token: index for index, token in enumerate(tokens)}, merges=[], model_max_length=PROMPT_TOKENS
    )
    config = CLIPTextConfig(
        vocab_size=len(tokens),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=PROMPT_TOKENS,
        bos_token_id=0,
        eos_token_id=1,
    )
    return tokenizer, CLIPTextModel(config)


def _prude() -> StableDiffusionSafetyChecker:
    small = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    vision = small | {"image_size": 32, "patch_size": 16}
    checker = StableDiffusionSafetyChecker(
        CLIPConfig(text_config=small, vision_config=vision, projection_dim=16)
    )
    # Everything is at least so much like each of the concepts.
    checker.concept_embeds_weights.data.fill_(-2)
    return checker


def _unet(channels: int) -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=NATIVE_SIDE_PIXELS // 8,
        in_channels=channels,
        out_channels=4,
        layers_per_block=1,
        block_out_channels=(16, 32),
        norm_num_groups=8,
        cross_attention_dim=32,
        attention_head_dim=2,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
    )


def _vae() -> AutoencoderKL:
    return AutoencoderKL(
        block_out_channels=(8, 8, 8, 8),
        norm_num_groups=4,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        latent_channels=4,
        sample_size=NATIVE_SIDE_PIXELS,
    )
