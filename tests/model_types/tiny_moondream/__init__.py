"""A checkpoint that brings its own code, as Moondream2 does; `build` writes it into a folder."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from tests.model_types.tiny_moondream.configuration_tiny_moondream import TinyMoondreamConfig
from tests.model_types.tiny_moondream.modeling_tiny_moondream import COLOURS, TinyMoondream

CODE = Path(__file__).parent
WORDS = (
    "<bos>", "<end>", "<unk>", ":", "a", "thing", "Question", "Answer", "colour", "Describe", *COLOURS,
)  # fmt: skip
ID = {word: index for index, word in enumerate(WORDS)}


def build(folder: Path) -> None:
    """Write code, configuration, tokenizer and weights.

    Asked for the colour, the model names the image's; told to describe it, it writes "a red thing".
    """
    config = TinyMoondreamConfig(vocab_size=len(WORDS))
    config.architectures = ["TinyMoondream"]
    config.auto_map = {
        "AutoConfig": "configuration_tiny_moondream.TinyMoondreamConfig",
        "AutoModelForCausalLM": "modeling_tiny_moondream.TinyMoondream",
    }
    config.save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    torch.manual_seed(0)
    model = TinyMoondream(config)
    _teach(model)
    save_file(model.state_dict(), folder / "model.safetensors", metadata={"format": "pt"})
    for name in ("configuration_tiny_moondream.py", "modeling_tiny_moondream.py"):
        shutil.copy(CODE / name, folder)


def tokenizer() -> PreTrainedTokenizerFast:
    words = Tokenizer(models.WordLevel(ID, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(
        tokenizer_object=words, bos_token="<bos>", eos_token="<end>", unk_token="<unk>"
    )


@torch.no_grad()
def _teach(model: TinyMoondream) -> None:
    """Set what follows each word, and what the words and colours before suggest, in logits."""
    text = model.text_model
    text.embedding.weight.copy_(torch.eye(len(WORDS), text.width))
    model.vision_encoder.projection.weight.zero_()
    text.follows.weight.zero_()
    text.suggests.weight.zero_()
    for index, colour in enumerate(COLOURS):
        sees = len(WORDS) + index
        model.vision_encoder.projection.weight[sees, index] = 1.0
        text.suggests.weight[ID[colour], sees] = 6.0
        text.follows.weight[ID[colour], ID["a"]] = 30.0
        text.suggests.weight[ID[colour], ID["colour"]] = 6.0
        text.follows.weight[ID["<end>"], ID[colour]] = 26.0
        text.follows.weight[ID["thing"], ID[colour]] = 16.0
    text.suggests.weight[ID["a"], ID["Describe"]] = 16.0
    text.suggests.weight[ID["thing"], ID["Describe"]] = 16.0
    text.follows.weight[ID["a"], ID["a"]] = -30.0
    text.follows.weight[ID["<end>"], ID["thing"]] = 60.0
