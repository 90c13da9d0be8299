"""Encoders with random weights in folders: of a few kilobytes, and their tokenizers know forty words."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import (
    AutoModel,
    AutoModelForSequenceClassification,
    BertConfig,
    CamembertConfig,
    DistilBertConfig,
    ModernBertConfig,
    PreTrainedTokenizerFast,
    RobertaConfig,
    XLMRobertaConfig,
)

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
WORDS = [
    *("the", "a", "of", "to", "and", "in", "cat", "dog", "bird", "fish", "house", "tree", "river", "stone"),
    *(
        "bread",
        "cheese",
        "wine",
        "king",
        "queen",
        "ship",
        "sea",
        "star",
        "moon",
        "sun",
        "rain",
        "snow",
        "runs",
    ),
    *("sleeps", "eats", "sings", "flies", "swims", "reads", "writes", "small", "big", "old", "new", "red"),
]
POSITIONS = 64
# Their positions are counted from behind the padding's own.
_ROBERTAS = {"camembert": CamembertConfig, "roberta": RobertaConfig, "xlm-roberta": XLMRobertaConfig}


def sentence(words: int, seed: int) -> str:
    """So many words, the same ones for the same seed."""
    return " ".join(random.Random(seed).choices(WORDS, k=words))


def config(kind: str, **options: Any) -> Any:
    """A tiny configuration of one of the kinds of encoders."""
    size: dict[str, Any] = {"vocab_size": len(SPECIAL) + len(WORDS), "pad_token_id": 0, **options}
    if kind == "distilbert":
        return DistilBertConfig(
            max_position_embeddings=POSITIONS, dim=32, n_layers=2, n_heads=4, hidden_dim=48, **size
        )
    size |= {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
    if kind == "bert":
        return BertConfig(max_position_embeddings=POSITIONS, **size)
    if kind in _ROBERTAS:
        return _ROBERTAS[kind](max_position_embeddings=POSITIONS + 1, **size)
    size |= {"local_attention": 8, "cls_token_id": 2, "bos_token_id": 2, "sep_token_id": 3, "eos_token_id": 3}
    return ModernBertConfig(max_position_embeddings=POSITIONS, **size)


def build_encoder(folder: Path, kind: str = "bert") -> None:
    """An encoder as `AutoModel` loads it."""
    torch.manual_seed(0)
    _save(AutoModel.from_config(config(kind)), folder, kind)


def build_embedder(folder: Path) -> None:
    """A BERT with the card of an embedding model."""
    build_encoder(folder)
    write_card(folder, {"pooling_mode_mean_tokens": True}, "2_Normalize")


def build_classifier(folder: Path, kind: str = "distilbert", **options: Any) -> None:
    """A classifier of texts; `options` go to its configuration."""
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_config(config(kind, initializer_range=0.5, **options))
    _save(model, folder, kind)


def build_cross_encoder(folder: Path) -> None:
    """A BERT that gives one score to a pair."""
    build_classifier(folder, "bert", num_labels=1)


def write_card(folder: Path, pooling: dict[str, Any], *modules: str, **settings: Any) -> None:
    """The files of sentence-transformers: a pooling, then modules such as "2_Normalize"."""
    names = ["", "1_Pooling", *modules]
    types = ["Transformer", "Pooling", *(name.partition("_")[2] for name in modules)]
    listed = [
        {"idx": index, "name": str(index), "path": name, "type": f"sentence_transformers.models.{kind}"}
        for index, (name, kind) in enumerate(zip(names, types, strict=True))
    ]
    write_json(folder / "modules.json", listed)
    write_json(folder / "1_Pooling" / "config.json", {"word_embedding_dimension": 32, **pooling})
    if settings:
        write_json(folder / "config_sentence_transformers.json", settings)


def write_json(file: Path, value: Any) -> None:
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(value))


def _save(model: Any, folder: Path, kind: str) -> None:
    model.save_pretrained(folder)
    words = {word: index for index, word in enumerate(SPECIAL + WORDS)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    names = (
        ["input_ids", "token_type_ids", "attention_mask"]
        if kind == "bert"
        else ["input_ids", "attention_mask"]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]",
        sep_token="[SEP]", model_input_names=names,
    ).save_pretrained(folder)  # fmt: skip
