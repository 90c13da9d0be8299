"""A Whisper small enough to build in a test: its parts are real, its weights random, its windows short."""

from __future__ import annotations

import base64
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from numpy.typing import NDArray
from tokenizers.pre_tokenizers import ByteLevel
from transformers import (
    AddedToken,
    GenerationConfig,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
    WhisperProcessor,
    WhisperTokenizer,
)

# The text tokens are the 256 bytes.
END = 256
LANGUAGES = ("en", "de", "fr", "ja")
SPECIAL = (
    "startoftranscript", *LANGUAGES, "translate", "transcribe", "startoflm", "startofprev", "nospeech",
    "notimestamps",
)  # fmt: skip
FIRST_TIMESTAMP = END + 1 + len(SPECIAL)
# Windows of 3 seconds instead of 30.
WINDOW_SECONDS = 3
TICKS = 50 * WINDOW_SECONDS


def build(folder: Path, *, english_only: bool = False, aligned: bool = True) -> None:
    """Write the model into a folder, as `save_pretrained` does."""
    tokenizer().save_pretrained(folder)
    extractor = WhisperFeatureExtractor(feature_size=16, chunk_length=WINDOW_SECONDS)
    WhisperProcessor(extractor, tokenizer()).save_pretrained(folder)
    torch.manual_seed(5)
    model = WhisperForConditionalGeneration(
        WhisperConfig(
            vocab_size=FIRST_TIMESTAMP + TICKS + 1, num_mel_bins=16, d_model=16, init_std=0.6,
            encoder_layers=1, encoder_attention_heads=2, encoder_ffn_dim=32, max_source_positions=TICKS,
            decoder_layers=1, decoder_attention_heads=2, decoder_ffn_dim=32, max_target_positions=48,
            pad_token_id=END, bos_token_id=END, eos_token_id=END, decoder_start_token_id=END + 1,
            suppress_tokens=[], begin_suppress_tokens=[],
        )
    )  # fmt: skip
    # Made afresh: the one that a model begins with forgets its extras when it is saved.
    model.generation_config = GenerationConfig(
        decoder_start_token_id=END + 1,
        eos_token_id=END,
        pad_token_id=END,
        is_multilingual=not english_only,
        suppress_tokens=list(range(END + 1, FIRST_TIMESTAMP)),
        begin_suppress_tokens=[END],
        **({"alignment_heads": [[0, 0], [0, 1]]} if aligned else {}),
    )
    model.save_pretrained(folder)


def tokenizer() -> Any:
    vocabulary = {character: index for index, character in enumerate(sorted(ByteLevel.alphabet()))}
    made = WhisperTokenizer(vocab={**vocabulary, "<|endoftext|>": END}, merges=[])
    made.add_special_tokens({"additional_special_tokens": [f"<|{name}|>" for name in SPECIAL]})
    made.add_tokens([AddedToken(f"<|{tick / 50:.2f}|>") for tick in range(TICKS + 1)])
    return made


def hum(seconds: float, *, seed: int = 0) -> NDArray[np.float32]:
    """Tones that come and go, 16,000 samples a second: as good as speech to a model that was never taught."""
    random = np.random.default_rng(seed)
    time = np.arange(int(seconds * 16_000)) / 16_000
    pitches = random.uniform(80, 2000, size=4)
    tones = [np.sin(2 * np.pi * pitch * time) * np.sin(pitch / 300 * time) for pitch in pitches]
    return (np.sum(tones, axis=0) / 8 + random.normal(0, 0.01, len(time))).astype(np.float32)


def data_uri(samples: NDArray[np.float32], rate_hz: int = 16_000, format: str = "WAV") -> str:
    """The samples as a file in a `data:` URI."""
    file = BytesIO()
    soundfile.write(file, samples, rate_hz, format=format)
    return f"data:audio/x;base64,{base64.b64encode(file.getvalue()).decode()}"
