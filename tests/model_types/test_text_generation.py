"""Text generation on the shipped model, which knows the opening of a well-known book by heart."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, TemperatureLogitsWarper
from transformers import TopKLogitsWarper as TopK
from transformers import TopPLogitsWarper as TopP

from examples.demo_models import RECITAL
from model_types.base import Failure
from model_types.text_generation.rows import Row
from model_types.text_generation.sampling import RowSampler
from model_types.text_generation.transformers import Transformers

# Torch alone takes seconds to load.
pytestmark = pytest.mark.slow

TEXT = (RECITAL / "text.txt").read_text("utf-8").rstrip("\n")
RAGGED = ["Alice was beginning", "There was", "she had peeped into the book her sister was reading", "Oh"]


def write(engine: Transformers, **request: Any) -> str:
    """What the engine writes for one request."""
    (text,) = engine.predict([engine.prepare(request)])
    assert isinstance(text, str)
    return text


def continuation(prompt: str, length: int | None = None) -> str:
    """What the book has after these words."""
    rest = TEXT[TEXT.index(prompt) + len(prompt) :]
    return rest if length is None else rest[:length]


@pytest.mark.slow
def test_it_recites_to_the_end_and_stops_there(recital: Transformers) -> None:
    prompt = "Alice was beginning to get"
    assert write(recital, prompt=prompt, max_new_tokens=1500, temperature=0) == continuation(prompt)


def test_it_recites_at_the_default_temperature(recital: Transformers) -> None:
    assert write(recital, prompt="Alice was beginning", seed=1) == continuation("Alice was beginning", 128)


def test_max_length_counts_the_prompt(recital: Transformers) -> None:
    prompt = "Alice was beginning"
    written = write(recital, prompt=prompt, max_length=50, temperature=0)
    assert prompt + written == TEXT[:50]


def test_greedy_is_what_transformers_itself_writes(recital: Transformers) -> None:
    model: Any = AutoModelForCausalLM.from_pretrained(RECITAL, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(RECITAL)
    expected = []
    for prompt in RAGGED:
        ids = tokenizer(prompt, return_tensors="pt")
        output = model.generate(**ids, do_sample=False, max_new_tokens=60)
        expected.append(tokenizer.decode(output[0, ids["input_ids"].shape[1] :]))
    rows = [recital.prepare({"prompt": prompt, "max_new_tokens": 60, "temperature": 0}) for prompt in RAGGED]
    assert list(recital.predict(rows)) == expected


def test_the_likeliest_of_one_is_greedy(recital: Transformers) -> None:
    for prompt in RAGGED:
        greedy = write(recital, prompt=prompt, temperature=0, max_new_tokens=40)
        assert write(recital, prompt=prompt, temperature=2, top_k=1, max_new_tokens=40) == greedy
        assert write(recital, prompt=prompt, temperature=2, top_p=1e-6, max_new_tokens=40) == greedy


def test_the_same_seed_gives_the_same_text_and_another_another(recital: Transformers) -> None:
    request = {"prompt": "zz", "temperature": 2, "top_p": 1, "max_new_tokens": 40}
    texts = {seed: write(recital, **request, seed=seed) for seed in range(5)}
    assert len(set(texts.values())) == len(texts)
    assert texts == {seed: write(recital, **request, seed=seed) for seed in range(5)}


def test_without_a_seed_no_two_texts_are_the_same(recital: Transformers) -> None:
    row = {"prompt": "zz", "temperature": 2, "top_p": 1, "max_new_tokens": 40}
    texts = recital.predict([recital.prepare(row) for _ in range(5)])
    assert len(set(texts)) == 5


def test_a_shorter_request_with_the_same_seed_gives_the_same_beginning(recital: Transformers) -> None:
    request = {"prompt": "zz", "temperature": 1.5, "seed": 7}
    long = write(recital, **request, max_new_tokens=60)
    assert long.startswith(write(recital, **request, max_new_tokens=15).rstrip("\ufffd"))


def test_each_row_of_a_batch_ends_at_its_own_length(recital: Transformers) -> None:
    prompt = "Alice was beginning"
    lengths = [1, 40, 7, 120]
    rows = [recital.prepare({"prompt": prompt, "max_new_tokens": n, "temperature": 0}) for n in lengths]
    assert list(recital.predict(rows)) == [continuation(prompt, length) for length in lengths]


@pytest.mark.parametrize("stop", ["of having", ["never comes", "of having"], ["having nothing", "of having"]])
def test_it_stops_before_a_string_that_spans_tokens(recital: Transformers, stop: str | list[str]) -> None:
    prompt = "Alice was beginning"
    written = write(recital, prompt=prompt, stop=stop, temperature=0)
    assert written == " to get very tired of sitting by her sister on the bank, and "


def test_a_row_that_met_its_stop_string_costs_no_more_tokens(recital: Transformers) -> None:
    with Passes(recital) as passes:
        write(recital, prompt="Alice was beginning", stop="tired", temperature=0, max_new_tokens=1000)
    assert passes.count == len(" to get very tired")


def test_a_row_counts_its_own_tokens_and_says_why_it_ended(recital: Transformers) -> None:
    request: dict[str, Any] = {"prompt": "Alice was beginning", "temperature": 0, "max_new_tokens": 40}
    last_words: dict[str, Any] = {"prompt": TEXT[-30:-10], "temperature": 0}
    cases: list[tuple[dict[str, Any], int, str]] = [
        (request, 40, "length"),
        ({**request, "stop": "very"}, len(" to get very"), "stop"),
        ({**request, "max_new_tokens": len(" to get very"), "stop": "very"}, len(" to get very"), "stop"),
        ({**request, "max_new_tokens": len(" to get ver"), "stop": "very"}, len(" to get ver"), "length"),
        # The token that ends the text is one of them.
        (last_words, 11, "stop"),
        ({**last_words, "max_new_tokens": 11}, 11, "stop"),
        ({**last_words, "max_new_tokens": 10}, 10, "length"),
    ]
    rows = [recital.prepare(request) for request, _, _ in cases]
    recital.predict(rows)
    for row, (request, count, reason) in zip(rows, cases, strict=True):
        assert recital.metrics(row) == {
            "input_token_count": len(request["prompt"]),
            "output_token_count": count,
            "finish_reason": reason,
        }


def test_a_stop_string_of_one_row_leaves_the_others_alone(recital: Transformers) -> None:
    request = {"prompt": "Alice was beginning", "max_new_tokens": 40, "temperature": 0}
    rows = [recital.prepare({**request, "stop": "very"}), recital.prepare(request)]
    assert list(recital.predict(rows)) == [" to get ", continuation("Alice was beginning", 40)]


def test_a_repetition_penalty_keeps_it_from_saying_it_again(recital: Transformers) -> None:
    free = write(recital, prompt="Oh dear! Oh", temperature=0, max_new_tokens=6)
    assert free == " dear!"
    assert (
        write(recital, prompt="Oh dear! Oh", temperature=0, max_new_tokens=6, repetition_penalty=10) != free
    )


@pytest.mark.parametrize(
    ("top_k", "top_p"), [(0, 1.0), (20, 1.0), (0, 0.8), (20, 0.8), (400, 0.9), (0, 0.9999)]
)
def test_draws_follow_the_distribution_that_transformers_would_sample_from(top_k: int, top_p: float) -> None:
    draws, vocabulary, temperature = 4000, 1000, 0.8
    scores = 3 * torch.randn(1, vocabulary, generator=torch.Generator().manual_seed(1))
    no_ids = torch.empty(0)
    expected = TemperatureLogitsWarper(temperature)(no_ids, scores)
    expected = TopK(top_k)(no_ids, expected) if top_k else expected
    expected = (TopP(top_p)(no_ids, expected) if top_p < 1 else expected).softmax(-1)[0]
    rows = [
        Row([0], 1, temperature=temperature, top_k=top_k, top_p=top_p, seed=seed) for seed in range(draws)
    ]
    sampler = RowSampler(rows, width=1, device=torch.device("cpu"))
    drawn = sampler(torch.zeros(draws, 1, dtype=torch.long), scores.expand(draws, -1)).argmax(-1)
    observed = torch.bincount(drawn, minlength=vocabulary) / draws
    assert observed[expected == 0].sum() == 0
    assert (observed - expected).abs().max() < 4 * (0.25 / draws) ** 0.5  # four standard deviations at most


class Passes:
    """Counts the model's forward passes; at the `pause_at`-th it waits until `resume` is set."""

    def __init__(self, engine: Transformers, pause_at: int = 0) -> None:
        self.count = 0
        self.paused = threading.Event()
        self.resume = threading.Event()
        self._pause_at = pause_at
        self._handle = engine._model.register_forward_hook(self._passed)

    def __enter__(self) -> Passes:
        return self

    def __exit__(self, *_: object) -> None:
        self._handle.remove()

    def _passed(self, *_: object) -> None:
        self.count += 1
        if self.count == self._pause_at:
            self.paused.set()
            assert self.resume.wait(timeout=30)


def cancel_while_running(recital: Transformers, lengths: dict[str, int], cancelled: list[str]) -> Any:
    """Run a session of greedy rows in a thread and cancel some at their fifth token; outcomes and passes."""
    session = recital.session()
    for key, length in lengths.items():
        request = {"prompt": "Alice was beginning", "max_new_tokens": length, "temperature": 0}
        session.add(key, recital.prepare(request))
    outcomes: dict[str, Any] = {}
    with Passes(recital, pause_at=5) as passes:
        thread = threading.Thread(target=lambda: outcomes.update(session.step()))
        thread.start()
        assert passes.paused.wait(timeout=30)
        for key in cancelled:
            session.cancel(key)
        passes.resume.set()
        thread.join(timeout=30)
    assert len(session) == 0
    return outcomes, passes.count


def test_a_session_whose_rows_are_all_cancelled_ends_at_the_next_token(recital: Transformers) -> None:
    outcomes, passes = cancel_while_running(recital, {"a": 1000, "b": 900}, cancelled=["a", "b"])
    assert outcomes == {}
    assert passes == 5


def test_a_cancelled_row_makes_nobody_wait_for_it(recital: Transformers) -> None:
    outcomes, passes = cancel_while_running(recital, {"long": 1000, "short": 20}, cancelled=["long"])
    assert outcomes == {"short": continuation("Alice was beginning", 20)}
    assert passes == 20


def test_a_session_gives_the_oldest_its_pass_first_and_lets_others_join(recital: Transformers) -> None:
    session = recital.session()
    size = recital.pass_rows

    def join(key: str, length: int) -> None:
        session.add(key, recital.prepare({"prompt": "Alice", "max_new_tokens": length, "temperature": 0}))

    join("oldest", 60)
    for index in range(size):
        join(f"short {index}", 2)
    first = session.step()
    assert "oldest" in first
    join("late", 2)
    assert "late" in {**session.step(), **session.step()}
    assert len(session) == 0


def test_a_prompt_that_fills_the_context_is_refused(recital: Transformers) -> None:
    with pytest.raises(ValueError, match=r"prompt of 3000 tokens do not fit into .* context of 2048 tokens"):
        recital.prepare({"prompt": "x" * 3000})


def test_asking_for_more_than_the_context_holds_is_refused(recital: Transformers) -> None:
    with pytest.raises(ValueError, match=r"2000 tokens and max_new_tokens 49 do not fit"):
        recital.prepare({"prompt": "x" * 2000, "max_new_tokens": 49})


def test_the_default_length_shrinks_to_what_the_context_holds(recital: Transformers) -> None:
    assert recital.prepare({"prompt": "x" * 2000}).max_new_tokens == 48
    assert recital.prepare({"prompt": "x" * 2000, "max_length": 5000}).max_new_tokens == 48


def test_a_prompt_as_long_as_max_length_is_refused(recital: Transformers) -> None:
    with pytest.raises(ValueError, match="leaves none of max_length 10"):
        recital.prepare({"prompt": "x" * 10, "max_length": 10})


@pytest.mark.parametrize(
    "request_",
    [
        {},
        {"prompt": "a", "messages": [{"role": "user", "content": "b"}]},
        {"prompt": "a", "max_length": 10, "max_new_tokens": 5},
        {"prompt": ""},
        {"prompt": "a", "temperature": 2.1},
        {"prompt": "a", "stop": ["a", "b", "c", "d", "e"]},
        {"messages": [{"role": "oracle", "content": "b"}]},
    ],
)
def test_a_request_that_makes_no_sense_is_refused(recital: Transformers, request_: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="Input"):
        recital.prepare(request_)


def test_messages_need_a_chat_template(recital: Transformers) -> None:
    with pytest.raises(ValueError, match="no chat template"):
        recital.prepare({"messages": [{"role": "user", "content": "Hello"}]})


def test_a_row_too_big_for_the_memory_fails_alone(recital: Transformers) -> None:
    """Numbers for 2^47 draws would fill half a petabyte."""
    rows = [
        recital.prepare({"prompt": "Alice was", "max_new_tokens": 10, "temperature": 0}) for _ in range(4)
    ]
    rows[2] = Row(ids=[65], max_new_tokens=2**47, temperature=1.0)
    session = recital.session()
    for index, row in enumerate(rows):
        session.add(str(index), row)
    outcomes: dict[str, Any] = {}
    while len(session):
        outcomes |= session.step()
    failure = outcomes.pop("2")
    assert isinstance(failure, Failure)
    assert failure.code == "out_of_memory"
    assert list(outcomes.values()) == [continuation("Alice was", 10)] * 3


def test_the_weights_take_as_much_memory_as_they_are_large(recital: Transformers) -> None:
    assert recital.memory_bytes() == pytest.approx(836_864 * 4, rel=0.01)


def test_the_demo_model_is_small_enough_to_ship() -> None:
    files = [file for file in Path(RECITAL).iterdir() if file.is_file()]
    assert sum(file.stat().st_size for file in files) < 2_000_000
