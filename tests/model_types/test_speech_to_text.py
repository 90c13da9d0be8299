"""Speech to text: windows, times and languages, held against transformers' own way of writing."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import GenerationConfig, WhisperForConditionalGeneration

from examples.demo_models import RECITAL
from model_types import registry
from model_types.base import Failure, ModelUnavailable, VersionSpec
from model_types.media import InputFile
from model_types.media.audio import Sound
from model_types.speech_to_text.alignment import path, token_ticks, words
from model_types.speech_to_text.recording import Recording, Span, compression_ratio, split
from model_types.speech_to_text.schema import Input, Transcript
from model_types.speech_to_text.transformers import Transformers
from model_types.speech_to_text.vocabulary import Vocabulary
from tests.model_types import whisper
from tests.model_types.nearly import same_numbers

# Torch alone takes seconds to load.
pytestmark = pytest.mark.slow

TIME = whisper.FIRST_TIMESTAMP


def load(folder: Path | str) -> Transformers:
    spec = VersionSpec(
        id="1",
        model="a/whisper",
        model_type="speech-to-text",
        engine="transformers",
        path=str(folder),
        options={"threads": 1},
    )
    engine = registry.engine(spec)
    assert isinstance(engine, Transformers)
    engine.load(spec, "cpu")
    return engine


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("whisper")
    whisper.build(made)
    return made


@pytest.fixture(scope="module")
def engine(folder: Path) -> Iterator[Transformers]:
    loaded = load(folder)
    yield loaded
    loaded.unload()


@pytest.fixture(scope="module")
def english(tmp_path_factory: pytest.TempPathFactory) -> Transformers:
    """A checkpoint that knows English only, and not which heads follow the sound."""
    folder = tmp_path_factory.mktemp("english")
    whisper.build(folder, english_only=True, aligned=False)
    return load(folder)


def recording(engine: Transformers, seconds: float, *, tune: int = 0, **asked: Any) -> Recording:
    sound = InputFile("x", "audio", content=Sound(whisper.hum(seconds, seed=tune)))
    return engine.prepare(Input(audio=sound, **asked))


def transcript(engine: Transformers, seconds: float, **asked: Any) -> Transcript:
    (found,) = engine.predict([recording(engine, seconds, **asked)])
    assert isinstance(found, Transcript)
    return found


@pytest.mark.parametrize(
    ("ids", "spans", "ticks"),
    [
        ([TIME, 1, 2, TIME + 60], [Span(0, 60, [1, 2])], 150),
        (
            [TIME + 5, 1, TIME + 60, TIME + 62, 2, TIME + 140],
            [Span(5, 60, [1]), Span(62, 140, [2])],
            150,
        ),
        # The second phrase is cut by the window's end: the next window begins before it.
        ([TIME, 1, TIME + 60, TIME + 60, 2], [Span(0, 60, [1])], 60),
        ([TIME, 1, TIME + 60, TIME + 60], [Span(0, 60, [1])], 60),
        # There is nothing to go on from.
        ([TIME + 5, 1, 2], [Span(5, 150, [1, 2])], 150),
        ([1, 2], [Span(0, 150, [1, 2])], 150),
        ([], [], 150),
        ([TIME + 150], [], 150),
        # So small a step would have the window heard over and over.
        ([TIME, 1, TIME + 2, TIME + 2, 2], [Span(0, 2, [1]), Span(2, 150, [2])], 150),
        # Nobody speaks after the recording's end.
        ([TIME, 1, TIME + 200, TIME + 200, 2, TIME + 220], [Span(0, 200, [1])], 150),
    ],
)
def test_tokens_are_split_into_segments_where_times_stand(
    ids: list[int], spans: list[Span], ticks: int
) -> None:
    assert split(ids, TIME, 150) == (spans, ticks)


def test_a_path_goes_where_it_costs_least() -> None:
    cost = 1 - torch.tensor([[1, 1, 0, 0, 0, 0], [0, 0, 1, 0, 0, 0], [0, 0, 0, 1, 1, 1]]).double()
    assert path(cost.numpy()) == [0, 2, 3]


def test_a_token_begins_where_the_decoder_starts_to_look_elsewhere() -> None:
    looks = torch.full((2, 3, 90), 0.001)
    for row, (begin, end) in enumerate([(0, 20), (20, 50), (50, 90)]):
        looks[:, row, begin:end] = 1.0
    assert token_ticks(looks, filter_width=7) == [0, 20, 50]


@pytest.mark.parametrize(
    ("text", "language", "expected"),
    [
        (" It's late, Alice.", "en", ["It's", "late,", "Alice."]),
        (" Zu spät!", "de", ["Zu", "spät!"]),
        ("もう遅い。", "ja", ["も", "う", "遅", "い。"]),
    ],
)
def test_words_end_where_a_language_ends_them(text: str, language: str, expected: list[str]) -> None:
    vocabulary = Vocabulary.of(whisper.tokenizer(), size=TIME, is_multilingual=True)
    ids = vocabulary.tokenizer(text, add_special_tokens=False)["input_ids"]
    found = words(vocabulary, ids, range(len(ids) + 1), language)
    assert [word for _, _, word in found] == expected
    assert [begin for begin, _, _ in found[1:]] == [end for _, end, _ in found[:-1]]


@pytest.fixture(scope="module")
def original(folder: Path) -> Any:
    """The same weights with transformers' own `generate`."""
    model = WhisperForConditionalGeneration.from_pretrained(folder).eval()
    names = {name: whisper.END + 1 + index for index, name in enumerate(whisper.SPECIAL)}
    model.generation_config = GenerationConfig(
        decoder_start_token_id=whisper.END + 1,
        eos_token_id=whisper.END,
        pad_token_id=whisper.END,
        is_multilingual=True,
        no_timestamps_token_id=names["notimestamps"],
        lang_to_id={f"<|{code}|>": names[code] for code in whisper.LANGUAGES},
        task_to_id={task: names[task] for task in ("transcribe", "translate")},
        suppress_tokens=model.generation_config.suppress_tokens,
        begin_suppress_tokens=[whisper.END],
        max_initial_timestamp_index=50,
    )
    return model


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("timestamps", ["none", "segment"])
@pytest.mark.parametrize("language", ["fr", None])
def test_it_writes_what_transformers_writes(
    engine: Transformers, original: Any, seed: int, timestamps: str, language: str | None
) -> None:
    asked = recording(engine, 3, tune=seed, language=language, timestamps=timestamps, task="translate")
    ids = original.generate(
        asked.features[None],
        attention_mask=torch.ones(1, 300),
        language=language,
        task="translate",
        return_timestamps=timestamps != "none",
        max_new_tokens=asked.row.max_new_tokens,
        force_unique_generate_call=True,
    )[0].tolist()
    opening = 3 if timestamps != "none" else 4
    spans, _ = split([token for token in ids[opening:] if token != whisper.END], TIME, 150)
    (found,) = engine.hear([asked])
    assert asked.language is not None
    assert ids[1] == whisper.END + 2 + whisper.LANGUAGES.index(asked.language)
    text = "".join(engine._vocabulary.text(span.ids) for span in spans)
    assert asked.text == text
    assert text
    assert isinstance(found, Transcript) == asked.is_heard


def test_a_recordings_length_is_what_it_measures(engine: Transformers) -> None:
    assert engine.metrics(recording(engine, 7.3)) == {"input_audio_seconds": 7.3}


def test_times_rise_and_end_with_the_recording(engine: Transformers) -> None:
    found = transcript(engine, 7.3, tune=3, timestamps="word", temperature=1, seed=1)
    assert found.duration == 7.3
    assert found.segments
    assert found.words
    for parts in (found.segments, found.words):
        times = [time for part in parts for time in (part.start, part.end)]
        assert times == sorted(times)
        assert 0 <= times[0] <= times[-1] <= 7.3


def test_without_timestamps_there_are_none(engine: Transformers) -> None:
    found = transcript(engine, 1, timestamps="none")
    assert (found.segments, found.words) == (None, None)
    assert transcript(engine, 1).words is None


def test_segments_tell_how_sure_the_model_was(engine: Transformers, original: Any) -> None:
    heard = recording(engine, 2, tune=3, language="en", timestamps="none")
    features = heard.features[None]
    engine.hear([heard])
    segment = heard.segments[0]

    opening = heard.row.ids
    (written,) = engine._decoder.write([heard.row], [False], engine._encode(features))
    ids = [*written.ids, whisper.END][: heard.row.max_new_tokens]
    scores = (
        original(input_features=features, decoder_input_ids=torch.tensor([[*opening, *written.ids]]))
        .logits[0]
        .detach()
    )
    may_follow = scores[len(opening) - 1 :].clone()
    may_follow[:, whisper.END + 1 : TIME] = -torch.inf
    may_follow[0, whisper.END] = -torch.inf
    odds = may_follow.log_softmax(-1)[range(len(ids)), ids]
    assert segment.avg_logprob == pytest.approx(float(odds.mean()), rel=1e-4)
    silence = scores[0].softmax(-1)[engine._vocabulary.no_speech]
    assert segment.no_speech_prob == pytest.approx(float(silence), rel=1e-3)
    assert segment.text == engine._vocabulary.text(segment.tokens).strip()


def test_segments_are_numbered_and_know_their_windows(engine: Transformers) -> None:
    found = transcript(engine, 7.3, tune=3, prompt="Alice", temperature=0.5, seed=1).segments
    assert found
    assert [segment.id for segment in found] == list(range(len(found)))
    assert found[0].seek == 0
    assert all(segment.seek / 100 <= segment.start for segment in found)
    assert {segment.temperature for segment in found} == {0.5}


def test_what_is_said_over_and_over_compresses_well() -> None:
    assert compression_ratio("Oh dear! " * 40) > 8
    assert compression_ratio("I shall be too late!") < 1


def test_rows_of_all_kinds_share_a_pass(engine: Transformers) -> None:
    session = engine.session()
    asked: list[dict[str, Any]] = [
        {"language": "en"},
        {"task": "translate", "prompt": "Curiouser and curiouser!"},
        {"timestamps": "none", "temperature": 0.7, "seed": 1},
        {"timestamps": "word"},
    ]
    for index, fields in enumerate(asked):
        session.add(str(index), recording(engine, 0.8, **fields))
    outcomes = session.step()
    assert [type(outcome) for outcome in outcomes.values()] == [Transcript] * 4
    assert [passed.rows for passed in session.passes()] == [4]


def test_a_short_recording_need_not_wait_for_a_long_one(engine: Transformers) -> None:
    session = engine.session()
    session.add("long", recording(engine, 30, timestamps="none"))
    assert session.step() == {}
    session.add("short", recording(engine, 0.5))
    assert set(session.step()) == {"short"}
    assert len(session) == 1


def test_a_long_recording_tells_how_much_has_been_heard(engine: Transformers) -> None:
    long = recording(engine, 30)
    shares = []
    while isinstance(engine.hear([long])[0], Recording):
        shares.append(engine.progress(long))
    assert shares == sorted(set(shares))
    assert 0 < shares[0] < shares[-1] < 1
    assert engine.progress(long) == 1


def test_what_is_said_is_told_before_all_is_heard(engine: Transformers) -> None:
    told: list[tuple[int, str, float]] = []
    long = recording(engine, 9, tune=3, temperature=1, seed=1)
    session = engine.session()
    session.listen("nobody", lambda *_: pytest.fail("nobody was heard"))
    session.add("long", long)
    session.listen("long", lambda start, piece: told.append((start, piece, long.share)))
    outcomes: dict[str, Any] = {}
    while len(session):
        outcomes |= session.step()
    pieces = [piece for _, piece, _ in told]
    assert "".join(pieces) == outcomes["long"].text
    assert [start for start, _, _ in told] == [len("".join(pieces[:place])) for place in range(len(pieces))]
    # A segment is told when it has ended, not when its window has.
    assert told[0][2] == 0
    assert len({share for _, _, share in told}) > 2


def test_who_listens_late_is_told_first_what_was_said_already(engine: Transformers) -> None:
    told: list[tuple[int, str]] = []
    long = recording(engine, 9, tune=3, timestamps="none")
    session = engine.session()
    session.add("long", long)
    while not long.text:
        session.step()
    said = long.text.strip()
    session.listen("long", lambda *piece: told.append(piece))
    outcomes: dict[str, Any] = {}
    while len(session):
        outcomes |= session.step()
    assert told[0] == (0, said)
    assert "".join(piece for _, piece in told) == outcomes["long"].text


def test_a_recording_that_is_cancelled_is_not_heard_to_its_end(engine: Transformers) -> None:
    session = engine.session()
    session.add("long", recording(engine, 60))
    assert session.step() == {}
    session.cancel("long")
    assert session.step() == {}
    assert len(session) == 0


def test_a_cancelled_row_stops_at_the_next_token(engine: Transformers) -> None:
    row = recording(engine, 2, timestamps="none")
    whole = engine._decoder.write
    engine.cancel(row)
    engine.hear([row])
    sounds = engine._encode(row.features[None])
    assert len(whole([row.row], [False], sounds)[0].ids) <= 1


def test_a_batch_that_fails_late_is_heard_anew(engine: Transformers) -> None:
    expected = transcript(engine, 2, tune=1)
    session = engine.session()
    bad = recording(engine, 2, tune=1, timestamps="word")
    bad.language = "xx"
    session.add("good", recording(engine, 2, tune=1))
    session.add("bad", bad)
    outcomes: dict[str, Any] = {}
    while len(session):
        outcomes |= session.step()
    assert same_numbers(outcomes["good"], expected)
    assert isinstance(outcomes["bad"], Failure)


@pytest.mark.parametrize("name", ["french", "fr", "French", " FR "])
def test_a_language_has_a_name_and_a_code(engine: Transformers, name: str) -> None:
    assert recording(engine, 1, language=name).language == "fr"


def test_an_unknown_language_is_told_which_there_are(engine: Transformers) -> None:
    with pytest.raises(ValueError, match=r"no language 'elvish'; it knows english \(en\), german \(de\), f"):
        recording(engine, 1, language="elvish")


def test_a_checkpoint_for_english_refuses_other_languages(english: Transformers) -> None:
    assert transcript(english, 1, language="English").language == "en"
    assert transcript(english, 1).language == "en"
    with pytest.raises(ValueError, match="knows English only, not 'de'"):
        recording(english, 1, language="de")
    with pytest.raises(ValueError, match="knows English only and cannot translate"):
        recording(english, 1, task="translate")


def test_words_need_heads_that_follow_the_sound(english: Transformers) -> None:
    with pytest.raises(ValueError, match="has no alignment_heads: ask for timestamps by segment"):
        recording(english, 1, timestamps="word")


def test_of_a_long_prompt_the_end_counts(engine: Transformers) -> None:
    long = recording(engine, 1, prompt="x" * 1000 + "Alice").context
    assert len(long) == 24
    assert engine._vocabulary.text(long) == "x" * 18 + "Alice"
    assert recording(engine, 1, prompt="  ").context == []


def test_a_prompt_holds_no_special_tokens(engine: Transformers) -> None:
    with pytest.raises(ValueError, match="must not contain special tokens"):
        recording(engine, 1, prompt="Stop<|endoftext|>")


def test_the_seed_decides_where_the_model_wavers(engine: Transformers) -> None:
    first, second = (
        [transcript(engine, 1, temperature=1, seed=seed).text for seed in range(8)] for _ in range(2)
    )
    assert first == second
    assert len(set(first)) > 1


def test_a_checkpoint_from_before_generation_configs_still_works(
    engine: Transformers, folder: Path, tmp_path: Path
) -> None:
    old = Path(shutil.copytree(folder, tmp_path / "old"))
    (old / "generation_config.json").unlink()
    loaded = load(old)
    assert loaded._vocabulary.languages.keys() == set(whisper.LANGUAGES)
    assert transcript(loaded, 1, language="de").language == "de"


def test_what_is_no_whisper_is_refused() -> None:
    with pytest.raises(ModelUnavailable, match=r"recital.* cannot be loaded|recital.* lack"):
        load(RECITAL)
