"""Image-to-text models small enough to build in a test: all their parts are real, their weights random."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    BertTokenizer,
    BlipConfig,
    BlipForConditionalGeneration,
    BlipForQuestionAnswering,
    BlipImageProcessor,
    BlipProcessor,
    PreTrainedTokenizerFast,
    Qwen2VLImageProcessor,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    Qwen3VLProcessor,
    Qwen3VLVideoProcessor,
    SmolVLMConfig,
    SmolVLMForConditionalGeneration,
    SmolVLMImageProcessor,
    SmolVLMProcessor,
    SmolVLMVideoProcessor,
)

WORDS = (
    "a", "the", "of", "photo", "picture", "red", "green", "blue", "white", "black", "square", "circle",
    "what", "colour", "is", "it", "?", "describe", "see", "you", ".", "big", "small", "how", "many", "yes",
)  # fmt: skip
BERT = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[DEC]")
# Wide odds: what is likeliest must not hang on the order of a sum.
SIZE = {"hidden_size": 32, "intermediate_size": 64, "initializer_range": 0.4}
VISION = ("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")
TURNS = "{% for turn in messages %}<|turn|>{% for part in turn.content %}"
ANSWER = "{% endfor %}{% endfor %}{% if add_generation_prompt %}<|answer|>{% endif %}"


def build_blip_caption(folder: Path) -> None:
    _build_blip(folder, BlipForConditionalGeneration)


def build_blip_vqa(folder: Path) -> None:
    _build_blip(folder, BlipForQuestionAnswering)


def _build_blip(folder: Path, model_class: Any) -> None:
    size = {**SIZE, "projection_dim": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = {
        **size, "vocab_size": len(BERT + WORDS), "encoder_hidden_size": 32, "max_position_embeddings": 48,
        "pad_token_id": 0, "sep_token_id": 3, "eos_token_id": 3, "bos_token_id": 5,
    }  # fmt: skip
    torch.manual_seed(1)
    config = BlipConfig(
        text_config=text, vision_config={**size, "image_size": 32, "patch_size": 8}, initializer_range=0.4
    )
    model_class(config).save_pretrained(folder)
    vocabulary = {word: index for index, word in enumerate(BERT + WORDS)}
    tokenizer = BertTokenizer(vocab=vocabulary, additional_special_tokens=["[DEC]"])
    processor = BlipImageProcessor(size={"height": 32, "width": 32})
    BlipProcessor(processor, tokenizer).save_pretrained(folder)


def _chat_tokenizer(*special: str) -> Any:
    """Words, and signs that no plain text can write."""
    words = Tokenizer(
        models.WordLevel({word: index for index, word in enumerate(("<unk>", *WORDS))}, unk_token="<unk>")
    )
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=words,
        unk_token="<unk>",
        pad_token="<pad>",
        eos_token="<|end|>",
        additional_special_tokens=["<|turn|>", "<|answer|>", *special],
    )


def build_qwen3_vl(folder: Path) -> None:
    """Images of any size: as many tokens as a processor cuts patches."""
    tokenizer = _chat_tokenizer(*VISION)
    vision_start, vision_end, image_pad, video_pad = tokenizer.convert_tokens_to_ids(VISION)
    text = {
        **SIZE, "vocab_size": len(tokenizer), "num_hidden_layers": 1, "num_attention_heads": 2,
        "num_key_value_heads": 1, "head_dim": 16, "max_position_embeddings": 256,
        "pad_token_id": tokenizer.pad_token_id,
        "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [4, 2, 2]},
    }  # fmt: skip
    vision = {
        **SIZE, "depth": 1, "num_heads": 2, "out_hidden_size": 32, "patch_size": 8,
        "num_position_embeddings": 64, "deepstack_visual_indexes": [0],
    }  # fmt: skip
    config = Qwen3VLConfig(
        text_config=text,
        vision_config=vision,
        vision_start_token_id=vision_start,
        vision_end_token_id=vision_end,
        image_token_id=image_pad,
        video_token_id=video_pad,
    )
    torch.manual_seed(2)
    model = Qwen3VLForConditionalGeneration(config)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.save_pretrained(folder)
    pixels: dict[str, Any] = {
        "patch_size": 8,
        "merge_size": 2,
        "size": {"shortest_edge": 16 * 16, "longest_edge": 96 * 96},
    }
    see = "<|vision_start|><|image_pad|><|vision_end|>"
    Qwen3VLProcessor(
        image_processor=Qwen2VLImageProcessor(**pixels),
        tokenizer=tokenizer,
        video_processor=Qwen3VLVideoProcessor(**pixels),
        chat_template=f"{TURNS}{{{{ '{see}' if part.type == 'image' else part.text }}}}{ANSWER}",
    ).save_pretrained(folder)


def build_smolvlm(folder: Path) -> None:
    """Images of one size, cut into tiles."""
    tokenizer = _chat_tokenizer(
        "<image>", "<fake_token_around_image>", "<global-img>", "<end_of_utterance>", "<video>"
    )
    text = {
        **SIZE, "model_type": "llama", "vocab_size": len(tokenizer), "num_hidden_layers": 1,
        "num_attention_heads": 2, "num_key_value_heads": 1, "max_position_embeddings": 256,
        "pad_token_id": tokenizer.pad_token_id,
    }  # fmt: skip
    vision = {**SIZE, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 32, "patch_size": 8}
    config = SmolVLMConfig(
        text_config=text,
        vision_config=vision,
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        scale_factor=2,
    )
    torch.manual_seed(3)
    model = SmolVLMForConditionalGeneration(config)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.save_pretrained(folder)
    tiles: dict[str, Any] = {"size": {"longest_edge": 64}, "max_image_size": {"longest_edge": 32}}
    SmolVLMProcessor(
        image_processor=SmolVLMImageProcessor(**tiles, do_image_splitting=False),
        tokenizer=tokenizer,
        video_processor=SmolVLMVideoProcessor(**tiles, fps=1, num_frames=2),
        image_seq_len=4,
        chat_template=f"{TURNS}{{{{ '<image>' if part.type == 'image' else part.text }}}}{ANSWER}",
    ).save_pretrained(folder)
