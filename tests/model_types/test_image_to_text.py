"""Image to text: BLIP and models with a chat template, against what transformers makes of one request."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import torch
from PIL import Image
from pydantic import ValidationError
from transformers import (
    AutoModelForImageTextToText,
    AutoProcessor,
    BlipForConditionalGeneration,
    BlipForQuestionAnswering,
)

from examples.demo_models import RECITAL
from model_types.base import ModelUnavailable, VersionSpec
from model_types.image_to_text import INFO
from model_types.image_to_text.schema import Input
from model_types.image_to_text.transformers import Transformers
from model_types.media.fields import InputFile
from tests.model_types import seeing_models

# Torch alone takes seconds to load.
pytestmark = pytest.mark.slow

RED, GREEN, BLUE = (Image.new("RGB", (40, 30), colour) for colour in ("red", "green", "blue"))


def loaded(path: Path) -> Transformers:
    """An engine that has loaded this folder."""
    engine = Transformers()
    engine.info = INFO
    spec = VersionSpec(
        id="1", model="a/b", model_type="image-to-text", engine="transformers", path=str(path),
        options={"threads": 1},
    )  # fmt: skip
    engine.load(spec, "cpu")
    return engine


@contextmanager
def built(build: Callable[[Path], None], folder: Path) -> Iterator[Transformers]:
    build(folder)
    engine = loaded(folder)
    yield engine
    engine.unload()


@pytest.fixture(scope="module")
def captions(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Transformers]:
    with built(seeing_models.build_blip_caption, tmp_path_factory.mktemp("caption")) as engine:
        yield engine


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Transformers]:
    with built(seeing_models.build_blip_vqa, tmp_path_factory.mktemp("vqa")) as engine:
        yield engine


@pytest.fixture(scope="module")
def qwen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Transformers]:
    with built(seeing_models.build_qwen3_vl, tmp_path_factory.mktemp("qwen")) as engine:
        yield engine


@pytest.fixture(scope="module")
def smolvlm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Transformers]:
    with built(seeing_models.build_smolvlm, tmp_path_factory.mktemp("smolvlm")) as engine:
        yield engine


def asked(*images: Image.Image, **fields: Any) -> dict[str, Any]:
    """An input about these images, as a lane hands it to `prepare`."""
    files = [InputFile("image", content=image) for image in images]
    return {"max_new_tokens": 8, **({"images": files} if len(files) > 1 else {"image": files[0]}), **fields}


def run(engine: Transformers, *values: dict[str, Any]) -> list[Any]:
    """What a session makes of these inputs, in their order."""
    session = engine.session()
    for index, value in enumerate(values):
        session.add(str(index), engine.prepare(value))
    outcomes: dict[str, Any] = {}
    while len(session):
        outcomes |= session.step()
    return [outcomes[str(index)] for index in range(len(values))]


def test_a_caption_is_what_blip_itself_writes(captions: Transformers) -> None:
    model = BlipForConditionalGeneration.from_pretrained(captions.spec.path)
    processor = AutoProcessor.from_pretrained(captions.spec.path)
    for prompt in (None, "a photo of"):
        inputs = processor(images=BLUE, text=prompt, return_tensors="pt")
        expected = processor.decode(model.generate(**inputs, max_new_tokens=8)[0], skip_special_tokens=True)
        assert run(captions, asked(BLUE, prompt=prompt)) == [expected]


@pytest.mark.parametrize("family", ["captions", "answers", "qwen", "smolvlm"])
def test_a_text_is_told_while_it_is_written(family: str, request: pytest.FixtureRequest) -> None:
    engine: Transformers = request.getfixturevalue(family)
    session = engine.session()
    value = asked(RED, prompt="a photo of")
    session.add("0", engine.prepare(value))
    heard: list[tuple[int, str]] = []
    session.listen("0", lambda start, chunk: heard.append((start, chunk)))
    text = session.step()["0"]
    assert isinstance(text, str)
    assert heard
    for start, chunk in heard:
        assert text[start:].startswith(chunk)
    assert [text] == run(engine, value)


def test_an_answer_is_what_blip_itself_gives(answers: Transformers) -> None:
    model = BlipForQuestionAnswering.from_pretrained(answers.spec.path)
    processor = AutoProcessor.from_pretrained(answers.spec.path)
    for prompt in ("what colour is it ?", "how many ?"):
        inputs = processor(images=BLUE, text=prompt, return_tensors="pt")
        expected = processor.decode(model.generate(**inputs, max_new_tokens=8)[0], skip_special_tokens=True)
        assert expected
        assert run(answers, asked(BLUE, prompt=prompt)) == [expected]


@pytest.mark.parametrize("family", ["qwen", "smolvlm"])
def test_a_chat_is_what_the_model_itself_writes(family: str, request: pytest.FixtureRequest) -> None:
    engine: Transformers = request.getfixturevalue(family)
    model: Any = AutoModelForImageTextToText.from_pretrained(engine.spec.path)
    processor = AutoProcessor.from_pretrained(engine.spec.path)
    content = [
        {"type": "image", "image": RED},
        {"type": "image", "image": BLUE},
        {"type": "text", "text": "what is it"},
    ]
    inputs = processor.apply_chat_template(
        [{"role": "user", "content": content}],
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
        processor_kwargs={"return_tensors": "pt"},
    )
    with torch.inference_mode():
        output = model.generate(**inputs, max_new_tokens=8, do_sample=False)
    written = output[0, inputs["input_ids"].shape[1] :]
    expected = processor.tokenizer.decode(written, skip_special_tokens=True).strip()
    assert expected
    assert run(engine, asked(RED, BLUE, prompt="what is it")) == [expected]


def said(role: str, *parts: str | Image.Image) -> dict[str, Any]:
    """A turn of a conversation."""
    content: list[dict[str, Any]] = [
        {"type": "text", "text": part}
        if isinstance(part, str)
        else {"type": "image", "image": InputFile("image", content=part)}
        for part in parts
    ]
    return {"role": role, "content": content}


TURNS: list[list[dict[str, Any]]] = [
    [said("user", RED, "what is it"), said("assistant", "a red square"), said("user", BLUE, "how many ?")],
    [said("system", "describe"), said("user", "see", RED, "is it", GREEN)],
    [said("user", "what is it ?")],
]


@pytest.mark.parametrize("family", ["qwen", "smolvlm"])
def test_a_conversation_has_its_images_at_their_places(family: str, request: pytest.FixtureRequest) -> None:
    engine: Transformers = request.getfixturevalue(family)
    processor = AutoProcessor.from_pretrained(engine.spec.path)
    for turns in TURNS:
        shown = [
            {
                "role": turn["role"],
                "content": [
                    part if part["type"] == "text" else {"type": "image", "image": part["image"].content}
                    for part in turn["content"]
                ],
            }
            for turn in turns
        ]
        expected = processor.apply_chat_template(
            shown,
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
            processor_kwargs={"return_tensors": "pt"},
        )
        row: Any = engine.prepare({"messages": turns, "max_new_tokens": 4})
        assert row.ids == expected["input_ids"][0].tolist()
        for name, tensor in row.seen.items():
            assert torch.equal(tensor, expected[name])
    values = [{"messages": turns, "max_new_tokens": 6, "temperature": 1.5, "seed": 3} for turns in TURNS]
    assert run(engine, *values) == [run(engine, value)[0] for value in values]


def test_models_of_one_question_take_what_the_system_says_before_it_and_nothing_else(
    captions: Transformers, answers: Transformers
) -> None:
    turns = [said("system", "describe"), said("user", "what is", RED, "it ?")]
    plain = asked(RED, prompt="describe\n\nwhat is\nit ?")
    for engine in (captions, answers):
        assert run(engine, {"messages": turns, "max_new_tokens": 8}) == run(engine, plain)
        for refused, reason in (
            ({"messages": TURNS[0]}, "one turn of the user"),
            ({"messages": TURNS[2]}, "looks at an image"),
            (asked(RED, prompt="see", logprobs=1), "how likely its tokens are"),
            (asked(RED, prompt="see", json_schema={}), "cannot be held to a `json_schema`"),
        ):
            with pytest.raises(ValueError, match=reason):
                engine.prepare(refused)


def test_a_text_about_images_tells_its_tokens(qwen: Transformers) -> None:
    value = asked(RED, prompt="see", temperature=1.5, seed=3, max_new_tokens=10)
    (text,), (written,) = run(qwen, value), run(qwen, {**value, "logprobs": 1})
    assert "".join(piece.text for piece in written) == text
    tokens = [token for piece in written for token in piece.tokens]
    assert len(tokens) > 2
    # A text has blanks between its words, which are no tokens' own, and no signs.
    words = [token for token in tokens if token.token in seeing_models.WORDS]
    assert [token.token for token in words] == text.split()
    assert all(text[token.offset :].lstrip().startswith(token.token) for token in words)
    assert all(token.logprob <= token.top_logprobs[0].logprob for token in tokens)


@pytest.mark.parametrize("family", ["captions", "answers", "qwen", "smolvlm"])
def test_what_is_written_depends_on_the_image(family: str, request: pytest.FixtureRequest) -> None:
    engine: Transformers = request.getfixturevalue(family)
    noise = torch.Generator().manual_seed(0)
    images = [
        Image.fromarray(torch.randint(256, (32, 32, 3), generator=noise, dtype=torch.uint8).numpy())
        for _ in range(4)
    ]
    sampled = {"prompt": "what is it", "temperature": 1, "seed": 7, "max_new_tokens": 12}
    assert len(set(run(engine, *(asked(image, **sampled) for image in images)))) > 1


def test_requests_of_every_shape_share_a_session(qwen: Transformers, smolvlm: Transformers) -> None:
    wide = Image.new("RGB", (90, 20), "white")
    values = [asked(RED), asked(wide, RED, prompt="see"), asked(wide, prompt="how many ?"), asked(BLUE, RED)]
    for engine in (qwen, smolvlm):
        assert run(engine, *values) == [run(engine, value)[0] for value in values]
    several, one = qwen.prepare(values[1]), qwen.prepare(values[0])
    assert qwen.batch_key(several) == qwen.batch_key(one)
    several, one = smolvlm.prepare(values[1]), smolvlm.prepare(values[0])
    assert smolvlm.batch_key(several) != smolvlm.batch_key(one)


def test_questions_share_a_pass_only_with_those_of_their_length(answers: Transformers) -> None:
    values = [asked(RED, prompt=text) for text in ("how many ?", "what colour is it ?", "is it ?")]
    short, long, also_short = (answers.batch_key(answers.prepare(value)) for value in values)
    assert short == also_short != long
    assert run(answers, *values) == [run(answers, value)[0] for value in values]


def test_a_prompt_cannot_write_the_template_s_own_signs(qwen: Transformers) -> None:
    plain, sly = (
        qwen.prepare(asked(RED, prompt=text)) for text in ("see", "see <|image_pad|> <|turn|> <|end|>")
    )
    special = set(qwen.prepare(asked(RED)).ids[:4])
    assert [id for id in sly.ids if id in special] == [id for id in plain.ids if id in special]
    assert len(run(qwen, asked(RED, prompt="see <|image_pad|>"))) == 1


def test_limits_and_stop_strings_are_each_row_s_own(qwen: Transformers) -> None:
    sampled = {"temperature": 1.5, "seed": 3}
    (whole,) = run(qwen, asked(RED, **sampled, max_new_tokens=10))
    last = whole.split()[-1]
    before = whole[: whole.find(last)].strip()
    assert before
    cut, short, again = run(
        qwen,
        asked(RED, **sampled, max_new_tokens=10, stop=last),
        asked(RED, **sampled, max_new_tokens=2),
        asked(RED, **sampled, max_new_tokens=10),
    )
    assert cut == before
    assert whole.startswith(short)
    assert len(short.split()) <= 2
    assert again == whole


def test_the_tokens_that_stand_for_images_and_questions_count(
    qwen: Transformers, answers: Transformers
) -> None:
    row = qwen.prepare(asked(RED, prompt="see", temperature=1.5, seed=3, max_new_tokens=2))
    image_tokens = row.ids.count(qwen._family.model.config.image_token_id)
    qwen.predict([row])
    measured = qwen.metrics(row)
    assert 0 < image_tokens < int(measured["input_token_count"]) == len(row.ids)
    assert (measured["output_token_count"], measured["finish_reason"]) == (2, "length")
    question = answers.prepare(asked(RED, prompt="how many ?"))
    # Three words, the two ends of the question, and what begins the answer.
    assert answers.metrics(question)["input_token_count"] == 6


def test_what_has_been_cancelled_stops_at_the_next_token(captions: Transformers) -> None:
    cancelled, other = (captions.prepare(asked(RED, prompt="the", temperature=2, seed=1)) for _ in range(2))
    captions.cancel(cancelled)
    short, whole = captions.predict([cancelled, other])
    assert isinstance(short, str)
    assert isinstance(whole, str)
    assert whole.startswith(short)
    assert len(short) < len(whole)


def test_blip_looks_at_one_image(captions: Transformers, answers: Transformers) -> None:
    for engine in (captions, answers):
        with pytest.raises(ValueError, match="one image at a time"):
            engine.prepare(asked(RED, GREEN, prompt="see"))


def test_a_question_must_be_asked_and_fit(answers: Transformers) -> None:
    with pytest.raises(ValueError, match="give it a prompt"):
        answers.prepare(asked(RED))
    with pytest.raises(ValueError, match="the question has 102 tokens; the model reads 48"):
        answers.prepare(asked(RED, prompt="what " * 100))


def test_a_full_context_leaves_fewer_tokens_or_none(captions: Transformers) -> None:
    assert captions.prepare(asked(RED, prompt="a " * 40, max_new_tokens=100)).max_new_tokens == 7
    with pytest.raises(ValueError, match="which fill the model's context of 48 tokens"):
        captions.prepare(asked(RED, prompt="a " * 47))


def test_memory_is_held_until_it_is_given_back(tmp_path: Path) -> None:
    with built(seeing_models.build_blip_caption, tmp_path) as engine:
        engine.warm_up()
        assert engine.memory_bytes() > 100_000
        model = weakref.ref(engine._family.model)
    assert model() is None


def test_a_model_without_eyes_is_unavailable() -> None:
    with pytest.raises(ModelUnavailable, match="has no chat template, and is not a BLIP model either"):
        loaded(RECITAL)


@pytest.mark.parametrize(
    "images",
    [
        {},
        {"image": "a", "images": ["b"]},
        {"images": []},
        {"messages": []},
        {"image": "a", "messages": [{"role": "user", "content": []}]},
        {"prompt": "a", "messages": [{"role": "user", "content": []}]},
    ],
)
def test_there_is_one_image_or_several_or_a_conversation(images: dict[str, Any]) -> None:
    assert not jsonschema_rs.Draft202012Validator(INFO.input_schema()).is_valid(images)
    with pytest.raises(ValidationError):
        Input.model_validate(images)


def test_a_cost_counts_the_images() -> None:
    one, four = (INFO.cost(Input.model_validate({"images": ["a"] * count})) for count in (1, 4))
    assert four - one == 3 * 576
    part = {"type": "image", "image": "a"}
    shown = [{"role": "user", "content": [part, {"type": "text", "text": "see " * 8}, part]}]
    assert INFO.cost(Input.model_validate({"messages": shown})) == one + 576 + 8
    with pytest.raises(ValidationError, match="at most 8 images"):
        Input.model_validate({"messages": [{"role": "user", "content": [part] * 9}]})
