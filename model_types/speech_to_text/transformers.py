"""The transformers engine: Whisper over windows of 30 seconds, those of many recordings in one pass."""

from __future__ import annotations

import gc
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import AutoProcessor, WhisperForConditionalGeneration

from model_types import weights
from model_types.base import Failure, ModelType, Tell, VersionSpec
from model_types.batching import release_cached_memory
from model_types.media.audio import SAMPLE_RATE_HZ
from model_types.speech_to_text.alignment import token_ticks, words
from model_types.speech_to_text.decoding import Decoder
from model_types.speech_to_text.recording import Heard, Recording, Written, closed, split
from model_types.speech_to_text.schema import Input, Transcript
from model_types.speech_to_text.session import WindowSession
from model_types.speech_to_text.vocabulary import Vocabulary
from model_types.text_generation.rows import Row

# This many keep a CPU busy: for a window and 40 tokens of a model of whisper-tiny's shape one thread took
# 1.3 s alone, 0.95 s for each of 8 together, and 1.0 s for each of 16.
CPU_ROWS_PER_PASS = 8
ROWS_PER_PASS = 16


class Transformers(ModelType):
    """Any Whisper that transformers knows, from its safetensors."""

    # Any: the annotations of models and of processors fit no concrete class.
    _model: Any
    _extractor: Any
    _vocabulary: Vocabulary
    _decoder: Decoder

    @property
    def pass_rows(self) -> int:
        is_cpu = self._model.device.type == "cpu"
        return self._option("pass_rows", CPU_ROWS_PER_PASS if is_cpu else ROWS_PER_PASS)

    def load(self, version: VersionSpec, device: str) -> None:
        self.spec = version
        if (threads := version.options.get("threads")) is not None:
            torch.set_num_threads(int(threads))
        processor = weights.load_processor(AutoProcessor, version)
        self._model = weights.load(WhisperForConditionalGeneration, version, device)
        self._extractor = processor.feature_extractor
        self._vocabulary = Vocabulary.of(
            processor.tokenizer,
            size=self._model.config.vocab_size,
            is_multilingual=getattr(self._model.generation_config, "is_multilingual", None),
        )
        self._decoder = Decoder(self._model, self._vocabulary)

    def prepare(self, value: Input) -> Recording:
        """The recording and its first window's features. `ValueError` where the model cannot do this."""
        language = self._vocabulary.language(value.language, value.task)
        if value.timestamps == "word" and not self._decoder.aligns:
            raise ValueError(
                "this model cannot tell when a word was said, since its generation_config.json has no "
                "alignment_heads: ask for timestamps by segment"
            )
        samples = value.audio.content.samples
        recording = Recording(
            samples=samples,
            row=Row(
                ids=[],
                max_new_tokens=self._decoder.max_new_tokens,
                temperature=value.temperature,
                seed=secrets.randbits(63) if value.seed is None else value.seed,
            ),
            context=self._vocabulary.context(value.prompt, self._decoder.max_context_tokens),
            language=language,
            task=value.task,
            timestamps=value.timestamps,
            # Without times, nobody could say where the second window begins.
            with_times=value.timestamps != "none" or len(samples) > self._extractor.n_samples,
            window_samples=self._extractor.n_samples,
        )
        recording.features = self._features(recording)
        return recording

    def session(self) -> WindowSession:
        return WindowSession(self)

    def predict(self, batch: Sequence[Recording]) -> Sequence[Transcript | Failure]:
        session = self.session()
        for index, recording in enumerate(batch):
            session.add(str(index), recording)
        outcomes: dict[str, Transcript | Failure] = {}
        while len(session):
            outcomes |= session.step()
        return [outcomes[str(index)] for index in range(len(batch))]

    @torch.inference_mode()
    def hear(self, batch: Sequence[Recording]) -> list[Transcript | Recording]:
        """Hear one window of each: the transcript where it was the last one, else the recording itself."""
        if not batch:
            return []
        sounds = self._encode(torch.stack([recording.features for recording in batch]))
        languages = self._languages(batch, sounds)
        for recording, language in zip(batch, languages, strict=True):
            recording.row.ids = self._vocabulary.opening(
                language, recording.task, context=recording.context, with_times=recording.with_times
            )
        for recording in batch:
            recording.tell_news()
        written = self._decoder.write(
            [recording.row for recording in batch],
            [recording.with_times for recording in batch],
            sounds,
            lambda row, ids: self._overhear(batch[row], ids),
        )
        # All of it before any recording moves on: what fails is tried again in smaller batches.
        heard = [self._heard(*row) for row in zip(batch, languages, written, sounds, strict=True)]
        return [self._move_on(*row) for row in zip(batch, languages, heard, strict=True)]

    def cancel(self, prepared: Recording) -> None:
        prepared.row.cancelled = True

    def listen(self, prepared: Recording, tell: Tell) -> None:
        prepared.tell = tell

    def progress(self, prepared: Recording) -> float:
        return prepared.share

    def metrics(self, prepared: Recording) -> Mapping[str, float | str]:
        return {"input_audio_seconds": prepared.seconds}

    @torch.inference_mode()
    def warm_up(self) -> None:
        self._encode(torch.zeros(1, self._extractor.feature_size, self._extractor.nb_max_frames))

    def memory_bytes(self) -> int:
        return weights.memory_bytes(self._model)

    def unload(self) -> None:
        del self._model, self._extractor, self._vocabulary, self._decoder
        gc.collect()
        release_cached_memory()

    def _features(self, recording: Recording) -> Tensor:
        """The log-mel spectrogram of the next window, [mels, frames], filled up with silence."""
        found = self._extractor(recording.window(), sampling_rate=SAMPLE_RATE_HZ, return_tensors="pt")
        features: Tensor = found["input_features"][0]
        return features

    def _encode(self, features: Tensor) -> Tensor:
        """[rows, mels, frames] to [rows, frames / 2, hidden]."""
        moved = features.to(self._model.device, self._model.dtype)
        sounds: Tensor = self._model.get_encoder()(moved).last_hidden_state
        return sounds

    def _languages(self, batch: Sequence[Recording], sounds: Tensor) -> list[str]:
        """The language of each, detected from its first window where none was given."""
        unknown = [index for index, recording in enumerate(batch) if recording.language is None]
        detected = self._decoder.languages(sounds[unknown]) if unknown else []
        found = dict(zip(unknown, detected, strict=True))
        return [recording.language or found[index] for index, recording in enumerate(batch)]

    def _overhear(self, recording: Recording, ids: list[int]) -> None:
        """Tell the segments that have ended, while the window's others are still written."""
        if recording.tell is None:
            return
        spans, _, _ = closed(ids, self._vocabulary.first_timestamp)
        length = recording.window_ticks()
        recording.tell_news("".join(self._vocabulary.text(span.ids) for span in spans if span.start < length))

    def _heard(self, recording: Recording, language: str, written: Written, sound: Tensor) -> Heard:
        length = recording.window_ticks()
        spans, ticks = split(written.ids, self._vocabulary.first_timestamp, length)
        texts = [self._vocabulary.text(span.ids) for span in spans]
        said = self._vocabulary.text_ids([token for span in spans for token in span.ids])
        if recording.timestamps != "word" or not said:
            return Heard(written, spans, texts, [], ticks)
        opening = self._vocabulary.opening(language, recording.task)
        looks = self._decoder.attention(opening, said, sound)[..., :length]
        begins = token_ticks(looks, self._model.config.median_filter_width)
        return Heard(written, spans, texts, words(self._vocabulary, said, begins, language), ticks)

    def _move_on(self, recording: Recording, language: str, heard: Heard) -> Transcript | Recording:
        recording.language = language
        recording.hear(heard)
        if recording.is_heard:
            return recording.transcript(language)
        recording.features = self._features(recording)
        return recording
