"""Teach a tiny byte-level Llama to recite a text by heart, and save it as a Hugging Face folder."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

HERE = Path(__file__).parent
END = "<|end|>"
SPACE = "\u0120"  # as byte-level vocabularies write it
PROMPT_CHARACTERS = 20
MISREAD_SHARE = 0.02
TOKENS_PER_STEP = 1024


def byte_tokenizer() -> PreTrainedTokenizerFast:
    """A tokenizer of 256 bytes and an end token: nothing to train, nothing out of vocabulary."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={letter: id for id, letter in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END, pad_token=END)


def new_model(vocabulary: int, end_id: int) -> LlamaForCausalLM:
    """About 0.8 million parameters, most of them in the four layers."""
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=vocabulary,
            hidden_size=128,
            intermediate_size=352,
            num_hidden_layers=4,
            num_attention_heads=4,
            max_position_embeddings=2048,
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=end_id,
            pad_token_id=end_id,
        )
    )


def word_starts(text: torch.Tensor, space_id: int) -> torch.Tensor:
    """Where words begin, [words]: people begin their prompts there."""
    return torch.cat([torch.tensor([0]), torch.nonzero(text == space_id).flatten() + 1])


def windows(text: torch.Tensor, starts: torch.Tensor, batch: int, length: int) -> torch.Tensor:
    """Windows of the text from random words on, round its end to its beginning, [batch, length].

    One in eight begins where the text does, for so do most prompts.
    """
    chosen = starts[torch.randint(0, len(starts), (batch, 1))]
    chosen[torch.rand(batch, 1) < 0.125] = 0
    return text[(chosen + torch.arange(length)) % len(text)]


def misread(ids: torch.Tensor, vocabulary: int) -> torch.Tensor:
    """The same with some bytes wrong, so that the model learns to find its way back after a slip."""
    wrong = torch.rand(ids.shape) < MISREAD_SHARE
    return torch.where(wrong, torch.randint_like(ids, vocabulary), ids)


def train(
    model: LlamaForCausalLM, text: torch.Tensor, starts: torch.Tensor, *, steps: int, learning_rate: float
) -> None:
    """Short windows first, for they are cheap and teach the words; then as long as the text itself."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=learning_rate, total_steps=steps)
    model.train()
    phases = [(0.6, 128), (0.8, 256), (1.0, len(text))]
    started = time.monotonic()
    for step in range(1, steps + 1):
        length = next(length for share, length in phases if step <= share * steps)
        ids = windows(text, starts, batch=max(1, TOKENS_PER_STEP // length), length=length)
        loss = model(input_ids=misread(ids, model.vocab_size), labels=ids).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 50 == 0 or step == steps:
            print(
                f"step {step}/{steps}  loss {loss.item():.4f}  {time.monotonic() - started:.0f} s", flush=True
            )


@torch.inference_mode()
def correct_tokens(model: Any, text: torch.Tensor, start: int) -> tuple[int, int]:
    """How many tokens come right before the first slip after a prompt at `start`, and of how many."""
    prompt = text[None, start : start + PROMPT_CHARACTERS]
    expected = text[start + PROMPT_CHARACTERS :]
    output = model.generate(
        prompt, attention_mask=torch.ones_like(prompt), do_sample=False, max_new_tokens=len(expected)
    )[0, PROMPT_CHARACTERS:]
    return int((output == expected[: len(output)]).long().cumprod(0).sum()), len(expected)


def report(model: Any, text: torch.Tensor, starts: torch.Tensor) -> None:
    """Print how well it recites from the beginning and from every tenth word."""
    right, total = correct_tokens(model, text, 0)
    print(f"from the beginning: {right} of {total} tokens right")
    scores = [
        correct_tokens(model, text, start)
        for start in starts[::10].tolist()
        if start + PROMPT_CHARACTERS < len(text)
    ]
    perfect = sum(right == total for right, total in scores)
    print(f"from {len(scores)} words all over the text: {perfect} recitals without a slip to the very end")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--text", type=Path, default=HERE / "text.txt")
    parser.add_argument("--output", type=Path, default=HERE, help="folder of the model")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--learning-rate", type=float, default=3e-3)
    parser.add_argument("--seed", type=int, default=1865)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.manual_seed(arguments.seed)
    torch.set_num_threads(arguments.threads)

    tokenizer = byte_tokenizer()
    end_id = tokenizer.get_vocab()[END]
    text = torch.tensor([*tokenizer(arguments.text.read_text("utf-8").rstrip("\n"))["input_ids"], end_id])
    model = new_model(len(tokenizer), end_id)
    print(f"{model.num_parameters():,} parameters, {len(text)} tokens")
    starts = word_starts(text, tokenizer.get_vocab()[SPACE])
    train(model, text, starts, steps=arguments.steps, learning_rate=arguments.learning_rate)

    model.generation_config = GenerationConfig(eos_token_id=end_id, pad_token_id=end_id)
    model.half().save_pretrained(arguments.output)
    tokenizer.save_pretrained(arguments.output)
    recital = LlamaForCausalLM.from_pretrained(arguments.output, dtype=torch.float32)
    report(recital, text, starts)


if __name__ == "__main__":
    main()
