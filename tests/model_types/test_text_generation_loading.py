"""Loading of causal language models: what is missing is named, and tokenizers of other kinds work."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    AutoTokenizer,
    GenerationConfig,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

from examples.demo_models import RECITAL
from model_types.base import ModelUnavailable, VersionSpec
from model_types.text_generation.transformers import Transformers

# Torch alone takes seconds to load.
pytestmark = pytest.mark.slow


def loaded(path: Path | str, **options: Any) -> Transformers:
    """An engine that has loaded this folder."""
    engine = Transformers()
    spec = VersionSpec(
        id="1",
        model="a/b",
        model_type="text-generation",
        engine="transformers",
        path=str(path),
        options=options,
    )
    engine.load(spec, "cpu")
    return engine


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the demo model to be damaged."""
    return Path(shutil.copytree(RECITAL, tmp_path / "model"))


def without_config(folder: Path) -> None:
    (folder / "config.json").unlink()


def without_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def pickled_weights(folder: Path) -> None:
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def truncated_weights(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100_000])


def a_layer_short(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    short = {name: tensor for name, tensor in weights.items() if ".layers.3.mlp" not in name}
    save_file(short, folder / "model.safetensors", metadata={"format": "pt"})


def without_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (shutil.rmtree, "is not a folder on this machine"),
        (without_config, "has no config.json"),
        (without_weights, "has no model.safetensors"),
        (pickled_weights, r"has no model.safetensors; pytorch_model.bin is a pickle"),
        (truncated_weights, "cannot be loaded: .*incomplete"),
        (a_layer_short, r"lack model.layers.3.mlp.down_proj.weight and 2 more"),
        (without_tokenizer, "cannot be loaded: .*token"),
    ],
)
def test_what_keeps_a_version_from_loading_is_named(
    folder: Path, damage: Callable[[Path], None], reason: str
) -> None:
    damage(folder)
    with pytest.raises(ModelUnavailable, match=reason) as unavailable:
        loaded(folder)
    assert str(folder) in str(unavailable.value)
    assert "\n" not in str(unavailable.value)


def test_a_dtype_that_does_not_exist_is_named() -> None:
    with pytest.raises(ModelUnavailable, match=r"dtype 'float7' is not one of"):
        loaded(RECITAL, dtype="float7")


def test_it_recites_in_half_precision_too() -> None:
    engine = loaded(RECITAL, dtype="bfloat16")
    request = {"prompt": "Alice was beginning", "temperature": 0, "max_new_tokens": 40}
    assert engine.predict([engine.prepare(request)]) == [" to get very tired of sitting by her sister"[:40]]
    assert engine.memory_bytes() == pytest.approx(836_864 * 2, rel=0.01)


def test_messages_go_through_the_chat_template(folder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.chat_template = (
        "{% for turn in messages %}"
        "{% if turn.role == 'system' %}{{ raise_exception('system turns are not for me') }}{% endif %}"
        "{{ turn.content }}{% endfor %}{% if add_generation_prompt %} beginning{% endif %}"
    )
    tokenizer.save_pretrained(folder)
    engine = loaded(folder)
    row = engine.prepare(
        {"messages": [{"role": "user", "content": "Alice was"}], "temperature": 0, "max_new_tokens": 12}
    )
    assert engine.predict([row]) == [" to get very"]
    with pytest.raises(ValueError, match="system turns are not for me"):
        engine.prepare({"messages": [{"role": "system", "content": "Speak"}]})


def test_the_model_s_own_sampling_defaults_do_not_leak_in(folder: Path) -> None:
    full_stop = AutoTokenizer.from_pretrained(folder)(".")["input_ids"][0]
    GenerationConfig(
        eos_token_id=[256, full_stop], do_sample=True, temperature=5.0, repetition_penalty=9.0
    ).save_pretrained(folder)
    engine = loaded(folder)
    request = {"prompt": "daisies, when suddenly", "temperature": 0, "max_new_tokens": 400}
    # What ends a text is the model's business, though.
    assert engine.predict([engine.prepare(request)]) == [" a White Rabbit with pink eyes ran close by her"]


def test_a_continuation_keeps_the_space_it_begins_with(tmp_path: Path) -> None:
    """Tokenizers of the SentencePiece family drop the space of the first word that they decode."""
    words = {f"\u2581{letter}": id for id, letter in enumerate("abcdefgh")}
    tokenizer = Tokenizer(models.WordLevel({**words, "<unk>": 8}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>").save_pretrained(tmp_path)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=9, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=1,
        eos_token_id=None, bos_token_id=None, pad_token_id=None,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(tmp_path)
    engine = loaded(tmp_path)
    (text,) = engine.predict([engine.prepare({"prompt": "a b", "max_new_tokens": 4, "seed": 1})])
    assert isinstance(text, str)
    assert text.startswith(" ")
    assert len(text.split()) == 4
