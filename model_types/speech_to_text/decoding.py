"""Whisper's decoder over encoded windows: which language, what is said, and when."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from transformers import (
    GenerationConfig,
    GenerationMixin,
    LogitsProcessor,
    LogitsProcessorList,
    StoppingCriteria,
    StoppingCriteriaList,
    SuppressTokensAtBeginLogitsProcessor,
    SuppressTokensLogitsProcessor,
    WhisperTimeStampLogitsProcessor,
)
from transformers.modeling_outputs import BaseModelOutput

from model_types.speech_to_text.recording import Written
from model_types.speech_to_text.vocabulary import MAX_OPENING_TOKENS, Vocabulary
from model_types.text_generation.rows import Row
from model_types.text_generation.sampling import RowSampler
from model_types.text_generation.stopping import RowStopping

# Called with the number of a row that has written a time, and all that the row has written.
Overhear = Callable[[int, list[int]], None]

# As in OpenAI's implementation: who speaks in a window begins within its first second.
MAX_INITIAL_TICKS = 50


class Decoder:
    """Decodes encoded windows, [rows, frames, hidden], each row on its own terms.

    The library's own `generate` for Whisper takes one prompt, one task and one temperature for a whole batch,
    runs the encoder a second time to detect a language, and aligns words over the batch's padding.
    """

    def __init__(self, model: Any, vocabulary: Vocabulary) -> None:
        """`model` is a `WhisperForConditionalGeneration`; the defaults that come with it are forgotten here.

        Of these, older checkpoints force tokens, and limit lengths, in ways that no schema of ours promises.
        """
        self._model = model
        self._vocabulary = vocabulary
        self._suppressed = _listed(model, "suppress_tokens")
        self._suppressed_at_begin = _listed(model, "begin_suppress_tokens")
        self._alignment_heads = _listed(model, "alignment_heads")
        model.generation_config = GenerationConfig()

    @property
    def aligns(self) -> bool:
        """Whether it is known which heads follow the sound."""
        return bool(self._alignment_heads)

    @property
    def max_context_tokens(self) -> int:
        """How many tokens of what came before a row may have: with its mark, half of what the model holds."""
        return int(self._model.config.max_target_positions) // 2 - 1

    @property
    def max_new_tokens(self) -> int:
        """How many tokens a window may come to: whatever else a row and its batch-mates begin with."""
        return int(self._model.config.max_target_positions) // 2 - MAX_OPENING_TOKENS

    def languages(self, sounds: Tensor) -> list[str]:
        """The likeliest language of each window."""
        codes = list(self._vocabulary.languages)
        start = torch.full((len(sounds), 1), self._vocabulary.start, device=sounds.device)
        scores = self._forward(sounds, start).logits[:, -1]
        likeliest = scores[:, list(self._vocabulary.languages.values())].argmax(dim=-1)
        return [codes[place] for place in likeliest.tolist()]

    def write(
        self,
        rows: Sequence[Row],
        with_times: Sequence[bool],
        sounds: Tensor,
        overhear: Overhear = lambda _row, _ids: None,
    ) -> list[Written]:
        """What follows each row's tokens."""
        width = max(len(row.ids) for row in rows)
        starts = [width - len(row.ids) + row.ids.index(self._vocabulary.start) for row in rows]
        odds = TokenOdds()
        processors = self._processors(rows, with_times, width, sounds.device, odds)
        with self._scores_behind(starts) as behind:
            output = self._generate(rows, width, sounds, processors, overhear)
        end = self._vocabulary.end
        written = [
            _through(end, ids[: row.max_new_tokens])
            for row, ids in zip(rows, output[:, width:].tolist(), strict=True)
        ]
        means = odds.means(output, [len(ids) for ids in written])
        return [
            Written([token for token in ids if token != end], mean, silence)
            for ids, mean, silence in zip(written, means, self._no_speech(behind[0]), strict=True)
        ]

    def _generate(
        self,
        rows: Sequence[Row],
        width: int,
        sounds: Tensor,
        processors: LogitsProcessorList,
        overhear: Overhear,
    ) -> Tensor:
        """The rows' tokens, padded on the left to `width`, and what is written behind them."""
        end = self._vocabulary.end
        device = sounds.device
        padded = [[end] * (width - len(row.ids)) + row.ids for row in rows]
        mask = [[0] * (width - len(row.ids)) + [1] * len(row.ids) for row in rows]
        # Any: the annotation names all that `generate` may be told to return.
        output: Any = GenerationMixin.generate(
            self._model,
            encoder_outputs=BaseModelOutput(last_hidden_state=sounds),
            attention_mask=torch.ones(sounds.shape[:2], device=device),
            decoder_input_ids=torch.tensor(padded, device=device),
            decoder_attention_mask=torch.tensor(mask, device=device),
            generation_config=GenerationConfig(
                max_new_tokens=max(row.max_new_tokens for row in rows),
                decoder_start_token_id=self._vocabulary.start,
                eos_token_id=end,
                pad_token_id=end,
            ),
            logits_processor=processors,
            stopping_criteria=StoppingCriteriaList(
                [
                    RowStopping(rows, width, self._vocabulary.tokenizer, device),
                    Overhearing(width, self._vocabulary.first_timestamp, overhear),
                ]
            ),
        )
        return torch.as_tensor(output)

    def attention(self, opening: Sequence[int], text: Sequence[int], sound: Tensor) -> Tensor:
        """Where the decoder looks while it writes `text` after `opening`: [heads, tokens + 1, frames].

        The last look is for the end of the text. A pass of its own: while rows are written together,
        attention is computed in a way that does not tell.
        """
        tokens = torch.tensor([[*opening, *text]], device=sound.device)
        usual = self._model.config._attn_implementation
        self._model.set_attn_implementation("eager")
        try:
            layers = self._forward(sound[None], tokens, output_attentions=True).cross_attentions
        finally:
            self._model.set_attn_implementation(usual)
        heads = torch.stack([layers[layer][0, head] for layer, head in self._alignment_heads])
        # A token is looked for where the one before it is read.
        return heads[:, len(opening) - 1 :].float()

    @contextmanager
    def _scores_behind(self, places: Sequence[int]) -> Iterator[list[Tensor]]:
        """Keep the next pass's scores [rows, vocabulary] behind these tokens, which `generate` forgets."""
        kept: list[Tensor] = []

        def keep(_model: Any, _arguments: Any, output: Any) -> None:
            if not kept:
                kept.append(output.logits[range(len(places)), list(places)])

        hook = self._model.register_forward_hook(keep)
        try:
            yield kept
        finally:
            hook.remove()

    def _no_speech(self, scores: Tensor) -> list[float | None]:
        """How likely nobody speaks in each window, by the scores [rows, vocabulary] behind the start."""
        token = self._vocabulary.no_speech
        if token is None:
            return [None] * len(scores)
        silences: list[float | None] = scores.float().softmax(dim=-1)[:, token].tolist()
        return silences

    def _forward(self, sounds: Tensor, tokens: Tensor, **options: Any) -> Any:
        hidden = BaseModelOutput(last_hidden_state=sounds)
        return self._model(encoder_outputs=hidden, decoder_input_ids=tokens, use_cache=False, **options)

    def _processors(
        self,
        rows: Sequence[Row],
        with_times: Sequence[bool],
        width: int,
        device: torch.device,
        odds: TokenOdds,
    ) -> LogitsProcessorList:
        """What each row may write, and then `odds` before a temperature changes them."""
        processors = LogitsProcessorList()
        if self._suppressed:
            processors.append(SuppressTokensLogitsProcessor(self._suppressed, device=str(device)))
        if self._suppressed_at_begin:
            processors.append(
                SuppressTokensAtBeginLogitsProcessor(self._suppressed_at_begin, width, device=str(device))
            )
        if any(with_times):
            processors.append(TimestampRules(with_times, width, self._vocabulary, device))
        processors.append(odds)
        if not all(row.takes_scores_as_they_are for row in rows):
            processors.append(RowSampler(rows, width, device))
        return processors


class TimestampRules(LogitsProcessor):
    """Keeps times in pairs and in order, in the rows that write times."""

    def __init__(
        self, with_times: Sequence[bool], width: int, vocabulary: Vocabulary, device: torch.device
    ) -> None:
        config = GenerationConfig(
            eos_token_id=vocabulary.end,
            no_timestamps_token_id=vocabulary.no_timestamps,
            max_initial_timestamp_index=MAX_INITIAL_TICKS,
        )
        self._rules = WhisperTimeStampLogitsProcessor(config, begin_index=width)
        self._with_times = torch.tensor(with_times, device=device)[:, None]

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Scores [rows, vocabulary] in which no row can break the rules."""
        return torch.where(self._with_times, self._rules(input_ids, scores), scores)


class Overhearing(StoppingCriteria):
    """Sees each token of `generate`, stops nothing, and passes on the rows that have just written a time."""

    def __init__(self, width: int, first_timestamp: int, overhear: Overhear) -> None:
        """`width` is the length of what the rows began with."""
        self._width = width
        self._first_timestamp = first_timestamp
        self._overhear = overhear

    def __call__(self, input_ids: Tensor, scores: Any, **_: Any) -> Tensor:
        """No row is done on this account, [rows] of bool."""
        for row in (input_ids[:, -1] >= self._first_timestamp).nonzero()[:, 0].tolist():
            self._overhear(row, input_ids[row, self._width :].tolist())
        return torch.zeros(len(input_ids), dtype=torch.bool, device=input_ids.device)


class TokenOdds(LogitsProcessor):
    """Keeps the logarithm of each written token's probability, before a temperature changes it."""

    def __init__(self) -> None:
        self._scores: Tensor | None = None
        self._taken: list[Tensor] = []

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """The scores [rows, vocabulary] as they are: which token is taken shows at the next step."""
        self._take(input_ids[:, -1])
        self._scores = scores
        return scores

    def means(self, output: Tensor, counts: Sequence[int]) -> list[float]:
        """The means over each row's first so many tokens; `output` [rows, tokens] is all of them."""
        self._take(output[:, -1])
        taken = torch.stack(self._taken, dim=1).cpu()
        return [float(row[:count].mean()) for row, count in zip(taken, counts, strict=True)]

    def _take(self, tokens: Tensor) -> None:
        if self._scores is not None:
            taken = self._scores.gather(1, tokens[:, None]) - self._scores.logsumexp(dim=1, keepdim=True)
            self._taken.append(taken[:, 0])
            self._scores = None


def _through(end: int, ids: list[int]) -> list[int]:
    return ids[: ids.index(end) + 1] if end in ids else ids


def _listed(model: Any, name: str) -> list[Any]:
    """A list from the model's generation config; older checkpoints have it in their config."""
    return list(getattr(model.generation_config, name, None) or getattr(model.config, name, None) or ())
