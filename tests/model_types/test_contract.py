"""What every engine of every model type promises to the lane that runs it."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import jsonschema_rs
import pytest
from pydantic import BaseModel, TypeAdapter

from model_types import registry
from model_types.base import Failure, ModelType, Session
from model_types.custom import finding as custom
from model_types.media import MediaLimits, audio, files_in, images
from model_types.media.references import Inline, parse_reference
from tests.model_types.cases import CASES, Case

pytestmark = pytest.mark.slow

LIMITS = MediaLimits()


@pytest.fixture(scope="session", params=CASES, ids=str)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    """Each engine's case in turn."""
    chosen: Case = request.param
    return chosen.built(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="session")
def engine(case: Case) -> Iterator[ModelType]:
    """The case's engine, loaded and warm."""
    loaded = registry.engine(case.spec)
    loaded.load(case.spec, "cpu")
    loaded.warm_up()
    yield loaded
    loaded.unload()


def prepared(engine: ModelType, case: Case) -> list[Any]:
    return [engine.prepare(decoded(engine.parse(value))) for value in case.inputs]


def decoded(value: BaseModel) -> BaseModel:
    """An input whose files are decoded, as a lane hands it to `prepare`."""
    for _, file in files_in(value):
        reference = parse_reference(file.reference, LIMITS)
        assert isinstance(reference, Inline)
        if file.kind == "audio":
            file.content = audio.decode(reference.data, LIMITS)
        else:
            file.content = images.decode(reference.data, LIMITS, file.kind)
    return value


def schema_of(case: Case) -> dict[str, Any]:
    info = registry.get(case.spec.model_type)
    return custom.schemas(case.spec.path)["input_schema"] if info.own_schemas else info.input_schema()


def joined(engine: ModelType, batch: list[Any]) -> Session:
    session = engine.session()
    for index, item in enumerate(batch):
        session.add(str(index), item)
    return session


def run(session: Session) -> dict[str, Any]:
    outcomes: dict[str, Any] = {}
    while len(session):
        outcomes |= session.step()
    return outcomes


def assert_same(case: Case, outputs: Mapping[Any, Any], expected: Mapping[Any, Any]) -> None:
    assert outputs.keys() == expected.keys()
    for key, output in outputs.items():
        assert case.same(output, expected[key]), (key, output, expected[key])


def test_every_engine_has_a_case() -> None:
    shipped = {(info.name, engine) for info in registry.BUILT_IN for engine in info.engines}
    assert {(case.spec.model_type, case.spec.engine) for case in CASES} == shipped


def test_the_default_engine_exists() -> None:
    for info in registry.all():
        assert info.default_engine in info.engines


def test_the_schema_takes_what_the_type_takes(case: Case) -> None:
    info = registry.get(case.spec.model_type)
    validator = jsonschema_rs.Draft202012Validator(schema_of(case))
    for value in case.inputs:
        validator.validate(value)
        # With all defaults filled in it is the same input, for the schema and for the type.
        filled = info.Input.model_validate(value).model_dump(mode="json")
        validator.validate(filled)
        assert info.Input.model_validate(filled) == info.Input.model_validate(value)


def test_the_schema_explains_every_field(case: Case) -> None:
    properties = schema_of(case)["properties"]
    assert all(field["title"] and field["description"] for field in properties.values())
    assert sorted(field["x-order"] for field in properties.values()) == list(range(len(properties)))


def test_an_unknown_field_is_refused(case: Case) -> None:
    validator = jsonschema_rs.Draft202012Validator(schema_of(case))
    assert not validator.is_valid({**case.inputs[0], "no_such_field": 1})


def test_a_cost_fits_into_the_budget(case: Case) -> None:
    info = registry.get(case.spec.model_type)
    for value in case.inputs:
        assert 1 <= info.cost(info.Input.model_validate(value)) <= info.budget


def test_outputs_are_what_the_type_promises(engine: ModelType, case: Case) -> None:
    output_type: TypeAdapter[Any] = TypeAdapter(registry.get(case.spec.model_type).Output)
    for output in engine.predict(prepared(engine, case)):
        output_type.validate_python(output, strict=True)


def test_a_batch_of_one_equals_its_row_in_a_batch_of_eight(engine: ModelType, case: Case) -> None:
    together = engine.predict(prepared(engine, case))
    alone = [engine.predict([item])[0] for item in prepared(engine, case)]
    assert_same(case, dict(enumerate(together)), dict(enumerate(alone)))


def test_the_place_in_the_batch_does_not_matter(engine: ModelType, case: Case) -> None:
    forwards = engine.predict(prepared(engine, case))
    backwards = engine.predict(prepared(engine, case)[::-1])
    assert_same(case, dict(enumerate(forwards)), dict(enumerate(backwards[::-1])))


def test_a_session_gives_what_predict_gives(engine: ModelType, case: Case) -> None:
    session = joined(engine, prepared(engine, case))
    assert len(session) == len(case.inputs)
    outcomes = run(session)
    expected = engine.predict(prepared(engine, case))
    assert_same(case, outcomes, {str(index): output for index, output in enumerate(expected)})


def test_what_is_told_stands_in_the_output_and_changes_nothing(engine: ModelType, case: Case) -> None:
    expected = run(joined(engine, prepared(engine, case)))
    session = joined(engine, prepared(engine, case))
    told: dict[str, list[Any]] = {key: [] for key in expected}
    for key, chunks in told.items():
        session.listen(key, partial(_keep, chunks))
    outcomes = run(session)
    assert_same(case, outcomes, expected)
    info = registry.get(case.spec.model_type)
    for key, chunks in told.items():
        if info.chunks == "text":
            text = getattr(outcomes[key], info.text_field) if info.text_field else outcomes[key]
            assert not chunks or text.startswith("".join(chunks))
        else:
            assert not chunks or chunks == outcomes[key]


def _keep(chunks: list[Any], start: int, chunk: Any) -> None:
    assert start == (sum(map(len, chunks)) if isinstance(chunk, str) else len(chunks))
    chunks.append(chunk)


def test_one_bad_item_fails_alone(engine: ModelType, case: Case) -> None:
    expected = run(joined(engine, prepared(engine, case)))
    batch = prepared(engine, case)
    batch[3] = case.spoil(batch[3])
    outcomes = run(joined(engine, batch))
    failure = outcomes.pop("3")
    assert isinstance(failure, Failure)
    assert failure.code == "model_error"
    assert "\n" not in failure.message
    expected.pop("3")
    assert_same(case, outcomes, expected)


def test_what_is_cancelled_between_steps_does_not_come_out(engine: ModelType, case: Case) -> None:
    session = joined(engine, prepared(engine, case))
    session.cancel("5")
    session.cancel("never was here")
    outcomes = run(session)
    assert set(outcomes) == {str(index) for index in range(len(case.inputs))} - {"5"}
    assert len(session) == 0


def test_room_shrinks_with_each_that_joins(engine: ModelType, case: Case) -> None:
    session = engine.session()
    assert session.room() == engine.max_batch == registry.get(case.spec.model_type).max_batch
    for index, item in enumerate(prepared(engine, case)):
        session.add(str(index), item)
    assert session.room() == engine.max_batch - len(case.inputs)


def test_an_empty_session_steps_to_nothing(engine: ModelType) -> None:
    assert engine.session().step() == {}
    assert list(engine.predict([])) == []


@pytest.fixture
def only_what_is_new() -> Iterator[None]:
    """The collector knows nothing of what is in memory already, and need not look through it."""
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.mark.usefixtures("only_what_is_new")
def test_unloading_gives_the_memory_back(case: Case) -> None:
    engine = registry.engine(case.spec)
    engine.load(case.spec, "cpu")
    list(engine.predict(prepared(engine, case)[:2]))
    assert (weights_alive() > 0) == (engine.memory_bytes() > 0)
    engine.unload()
    gc.collect()
    assert weights_alive() == 0


def weights_alive() -> int:
    """How many parameters of models the collector knows of."""
    torch = sys.modules.get("torch")
    return 0 if torch is None else sum(type(one) is torch.nn.Parameter for one in gc.get_objects())
