"""Whisper's special tokens, and the prompts that are made of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from transformers.models.whisper.tokenization_whisper import LANGUAGES, TO_LANGUAGE_CODE

from model_types.base import ModelUnavailable
from model_types.speech_to_text.schema import Task

# Checkpoints for English only have one token less than the first multilingual ones.
ENGLISH_ONLY_VOCABULARY = 51_864
LANGUAGES_SHOWN = 8
# Older checkpoints have the second name for it.
NO_SPEECH = ("<|nospeech|>", "<|nocaptions|>")
# The start, the language, the task, and that no times are wanted.
MAX_OPENING_TOKENS = 4


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What the tokens of one checkpoint mean.

    They are looked up by name in its tokenizer: the generation configs of older and of fine-tuned
    checkpoints do not list them. Every token from `end` on is a special one, and every one from
    `first_timestamp` on a time, in steps of 20 ms; what is below `end` is text. `no_speech` is None where the
    checkpoint has no such token. `languages` maps codes to tokens, and is empty where it knows English only.
    """

    tokenizer: Any
    end: int
    start: int
    previous: int
    tasks: dict[Task, int]
    no_timestamps: int
    no_speech: int | None
    languages: dict[str, int]

    @classmethod
    def of(cls, tokenizer: Any, *, size: int, is_multilingual: bool | None) -> Vocabulary:
        """The vocabulary of a tokenizer whose model has `size` tokens. Raises `ModelUnavailable`."""
        tokens = tokenizer.get_vocab()

        def named(name: str) -> int:
            if name not in tokens:
                raise ModelUnavailable(f"the tokenizer has no {name} token: it is not one of Whisper's")
            return int(tokens[name])

        if is_multilingual is None:
            is_multilingual = size != ENGLISH_ONLY_VOCABULARY
        codes = [code for code in LANGUAGES if f"<|{code}|>" in tokens] if is_multilingual else []
        return cls(
            tokenizer=tokenizer,
            end=named("<|endoftext|>"),
            start=named("<|startoftranscript|>"),
            previous=named("<|startofprev|>"),
            tasks={"transcribe": named("<|transcribe|>"), "translate": named("<|translate|>")},
            no_timestamps=named("<|notimestamps|>"),
            no_speech=next((tokens[name] for name in NO_SPEECH if name in tokens), None),
            languages={code: named(f"<|{code}|>") for code in codes},
        )

    @property
    def first_timestamp(self) -> int:
        """The token that means 0.00 s."""
        return self.no_timestamps + 1

    def language(self, name: str | None, task: Task) -> str | None:
        """The code of a language's name or code; None where it is to be detected.

        Raises `ValueError` where the checkpoint does not know the language, or cannot do the task.
        """
        code = None if name is None else _code(name)
        if not self.languages:
            if task == "translate":
                raise ValueError("this model knows English only and cannot translate")
            if code not in (None, "en"):
                raise ValueError(f"this model knows English only, not {name!r}")
            return "en"
        if code is not None and code not in self.languages:
            raise ValueError(f"this model knows no language {name!r}; it knows {self._examples()}")
        return code

    def context(self, text: str | None, limit: int) -> list[int]:
        """The tokens of a text that might have come before, the last `limit` of them."""
        if not text or not text.strip():
            return []
        ids = self.tokenizer(f" {text.strip()}", add_special_tokens=False)["input_ids"]
        if len(self.text_ids(ids)) < len(ids):
            raise ValueError("the prompt must not contain special tokens such as <|endoftext|>")
        return [self.previous, *ids[-limit:]]

    def opening(
        self, language: str, task: Task, *, context: Sequence[int] = (), with_times: bool = False
    ) -> list[int]:
        """The tokens after which the model writes."""
        kind = [self.languages[language], self.tasks[task]] if self.languages else []
        return [*context, self.start, *kind, *([] if with_times else [self.no_timestamps])]

    def text_ids(self, ids: Sequence[int]) -> list[int]:
        """What of the tokens is text."""
        return [token for token in ids if token < self.end]

    def text(self, ids: Sequence[int]) -> str:
        """The text that the tokens spell; special ones spell nothing."""
        return str(self.tokenizer.decode(self.text_ids(ids)))

    def _examples(self) -> str:
        codes = list(self.languages)
        shown = ", ".join(f"{LANGUAGES[code]} ({code})" for code in codes[:LANGUAGES_SHOWN])
        more = len(codes) - LANGUAGES_SHOWN
        return f"{shown} and {more} more" if more > 0 else shown


def _code(name: str) -> str:
    lowered = name.strip().lower()
    return str(TO_LANGUAGE_CODE.get(lowered, lowered))
