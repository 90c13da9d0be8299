"""Custom models: which class a path names, what it takes and gives, and how it is run."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from pydantic import ValidationError
from pydantic_core import to_jsonable_python

from api.errors import Invalid
from api.services.input_schema import InputValidator, normalise
from examples import custom_model
from model_types import custom, registry
from model_types.base import Failure, ModelType, ModelUnavailable, VersionSpec
from model_types.custom.finding import Place, Signature, find, schemas
from model_types.media import InputFile
from model_types.trust import Trust

HEAD = """
from __future__ import annotations
from collections.abc import AsyncIterator, Iterator
from pydantic import BaseModel, Field

class Input(BaseModel):
    text: str
    times: int = Field(1, ge=0)
"""


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], str]:
    """Writes a class to a file, and gives its path as a version has it."""

    def written(body: str) -> str:
        file = tmp_path / "predict.py"
        file.write_text(HEAD + body)
        return str(file)

    return written


def load(path: str, **options: Any) -> ModelType:
    spec = VersionSpec(
        id="1",
        model="a/b",
        model_type="custom",
        engine="python",
        path=path,
        trust=Trust([path.partition(":")[0]]),
        options=options,
    )
    engine = registry.engine(spec)
    engine.load(spec, "cpu")
    return engine


def run(engine: ModelType, *values: dict[str, Any]) -> list[Any]:
    session = engine.session()
    for index, value in enumerate(values):
        session.add(str(index), engine.prepare(engine.parse(value)))
    outcomes: dict[str, Any] = {}
    while len(session):
        outcomes |= session.step()
    return [outcomes[str(index)] for index in range(len(values))]


SHOUT = """
class Predictor:
    def load(self) -> None:
        self.mark = "!" if self.device == "cpu" else "?"
    def predict(self, input: Input) -> str:
        return input.text.upper() + self.mark * input.times
"""


def test_a_file_s_class_is_loaded_and_asked(write: Callable[[str], str]) -> None:
    assert run(load(write(SHOUT)), {"text": "hey"}, {"text": "ho", "times": 3}) == ["HEY!", "HO!!!"]


def test_its_input_is_its_own(write: Callable[[str], str]) -> None:
    path = write(SHOUT)
    assert schemas(path)["input_schema"]["required"] == ["text"]
    assert schemas(path)["output_schema"] == {"type": "string"}
    with pytest.raises(ValidationError, match="times"):
        load(path).parse({"text": "hey", "times": -1})


@pytest.mark.parametrize(
    ("gives", "schema"),
    [
        ("-> Any", None),
        ("-> Callable[[], int]", None),
        ("-> Iterator[int]", {"type": "array", "items": {"type": "integer"}, "x-cog-array-type": "iterator"}),
    ],
)
def test_its_output_is_described_as_far_as_that_is_possible(
    write: Callable[[str], str], gives: str, schema: dict[str, Any] | None
) -> None:
    path = write(f"""
from collections.abc import Callable, Iterator
from typing import Any
from pydantic import BaseModel
class Input(BaseModel):
    n: int
class Predictor:
    def predict(self, input: Input) {gives}:
        return None
""")
    assert schemas(path).get("output_schema") == schema


def test_who_registers_one_without_a_schema_is_told_where_to_get_it(write: Callable[[str], str]) -> None:
    with pytest.raises(Invalid) as invalid:
        normalise(None, custom.INFO)
    assert invalid.value.errors == [
        ("input_schema", "is needed for custom: `augury models add` reads it from the class")
    ]
    schema = normalise(schemas(write(SHOUT))["input_schema"], custom.INFO)
    assert InputValidator(schema, custom.INFO).validate({"text": "hey"}) == {"text": "hey", "times": 1}


def test_a_class_may_say_its_input_and_output_itself(write: Callable[[str], str]) -> None:
    path = write("""
class Plain:
    Input = Input
    Output = list[int]
    def predict(self, input):
        return [len(input.text)] if input.times else None
""")
    first, second = run(load(f"{path}:Plain"), {"text": "four"}, {"text": "", "times": 0})
    assert first == [4]
    assert second == Failure("model_error", "UnexpectedOutput: output: Input should be a valid list")


def test_a_generator_s_parts_become_a_list(write: Callable[[str], str]) -> None:
    path = write("""
class Predictor:
    def predict(self, input: Input) -> Iterator[str]:
        for _ in range(input.times):
            yield input.text
""")
    engine = load(path)
    assert run(engine, {"text": "la", "times": 3}) == [["la", "la", "la"]]
    endless = engine.prepare(engine.parse({"text": "la", "times": 10**12}))
    engine.cancel(endless)
    assert engine.predict([endless]) == [[]]


def test_a_generator_s_parts_are_told_one_by_one_as_their_type_has_them(
    write: Callable[[str], str],
) -> None:
    path = write("""
class Predictor:
    def predict(self, input: Input) -> Iterator[int]:
        yield from input.text.split()
""")
    engine = load(path)
    session = engine.session()
    heard: list[tuple[int, Any]] = []
    for key, text in (("good", "1 2"), ("bad", "1 two")):
        session.add(key, engine.prepare(engine.parse({"text": text})))
        session.listen(key, lambda start, part: heard.append((start, part)))
    outcomes = dict(session.step()) | dict(session.step())
    assert heard == [(0, 1), (1, 2), (0, 1)]
    assert outcomes["good"] == [1, 2]
    assert outcomes["bad"].message.startswith("UnexpectedOutput: output.1: Input should be a valid integer")


def test_the_traceback_of_a_failure_begins_in_the_user_s_code(write: Callable[[str], str]) -> None:
    path = write("""
class Predictor:
    def predict(self, input: Input) -> str:
        raise OSError("no paper")
""")
    (failure,) = run(load(path), {"text": "la"})
    assert failure == Failure("model_error", "OSError: no paper")
    first, place, *_, last = failure.traceback.splitlines()
    assert first == "Traceback (most recent call last):"
    assert "predict.py" in place
    assert last == "OSError: no paper"


BATCHES = """
class Predictor:
    sizes = []
    def predict_batch(self, inputs: list[Input]) -> list[str]:
        self.sizes.append(len(inputs))
        if any(not one.text for one in inputs):
            raise LookupError("nothing\\nto say")
        return [one.text[::-1] for one in inputs if one.times]
    def predict(self, input: Input) -> str:
        raise AssertionError("batches go to predict_batch")
"""


def test_what_waits_goes_in_one_batch(write: Callable[[str], str]) -> None:
    engine = load(write(BATCHES), pass_rows=3)
    assert run(engine, *({"text": f"{n}x"} for n in range(5))) == [f"x{n}" for n in range(5)]
    assert sorted(vars(engine)["_predictor"].sizes) == [2, 3]


def test_in_a_batch_only_the_culprit_fails(write: Callable[[str], str]) -> None:
    outcomes = run(load(write(BATCHES)), {"text": "ab"}, {"text": ""}, {"text": "cd"})
    assert outcomes == ["ba", Failure("model_error", "LookupError: nothing to say"), "dc"]


def test_a_batch_with_too_few_outputs_is_no_answer(write: Callable[[str], str]) -> None:
    (failure,) = run(load(write(BATCHES)), {"text": "ab", "times": 0})
    assert failure.message == "UnexpectedOutput: predict_batch gave 0 outputs for 1 inputs"


@pytest.mark.slow
def test_unloading_is_told_to_the_class(write: Callable[[str], str], tmp_path: Path) -> None:
    engine = load(
        write(f"""
class Predictor:
    def predict(self, input: Input): return None
    def unload(self): open({str(tmp_path / "gone")!r}, "w").close()
""")
    )
    engine.unload()
    assert (tmp_path / "gone").is_file()


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ("import no_such_module", r"cannot be imported: ModuleNotFoundError: No module named"),
        ("class Other: pass", r"cannot be imported: AttributeError: module .* no attribute 'Predictor'"),
        ("Predictor = 5", r"is not a class with a method predict\(self, input\)"),
        ("class Predictor: pass", r"is not a class with a method predict\(self, input\)"),
        ("class Predictor:\n def predict(self, text: str): ...", r"does not tell its input: write predict"),
        ("class Predictor:\n def predict(self): ...", r"does not tell its input: write predict"),
        ("class Predictor:\n def predict(self, input: Inputt): ...", r"annotations .* 'Inputt' is not def"),
        ("class Predictor:\n async def predict(self, input: Input): ...", r"is async, and a lane runs one"),
        (
            "class Predictor:\n def predict(self, input: Input) -> AsyncIterator[int]: ...",
            r"is async, and a lane runs one",
        ),
        (
            "class Predictor:\n def load(self): raise OSError('no\\nfile')\n"
            " def predict(self, x: Input): ...",
            r"Predictor cannot be loaded: OSError: no file",
        ),
    ],
)
def test_what_is_wrong_with_a_class_is_said_in_a_line(
    write: Callable[[str], str], body: str, complaint: str
) -> None:
    with pytest.raises(ModelUnavailable, match=complaint) as unavailable:
        load(write(body))
    assert "\n" not in str(unavailable.value)


def test_a_file_runs_only_where_an_administrator_allows_it(
    write: Callable[[str], str], tmp_path: Path
) -> None:
    path = write(f"open({str(tmp_path / 'ran')!r}, 'w').close()\n{SHOUT}")
    with pytest.raises(ModelUnavailable, match=r"an administrator may allow it by .*predict.py or sha256:"):
        find(Place.of(path), Trust())
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("path", ["/no/such/file.py", "no_such_package.module:Class", "nobody-installed-me"])
def test_a_class_that_is_not_there_is_named(path: str) -> None:
    with pytest.raises(ModelUnavailable, match=path.partition(":")[0]):
        find(Place.of(path))


def test_two_files_may_be_called_the_same(tmp_path: Path) -> None:
    found = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        file = tmp_path / name / "predict.py"
        file.write_text(f"{HEAD}class Predictor:\n def predict(self, input: Input): return {name!r}")
        found += run(load(str(file)), {"text": ""})
    assert found == ["one", "two"]


@pytest.mark.slow
def test_installed_classes_are_found_by_module_and_by_entry_point(tmp_path: Path) -> None:
    (tmp_path / "shouting.py").write_text(HEAD + SHOUT)
    metadata = tmp_path / "shouting-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: shouting\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[augury.models]\nshout = shouting:Predictor\n")
    program = (
        f"import sys; sys.path[:0] = [{str(tmp_path)!r}]\n"
        "from model_types.custom.finding import Place, find\n"
        "from model_types.trust import Trust\n"
        "found = [find(Place.of(path), Trust()) for path in ('shouting:Predictor', 'shout')]\n"
        "assert found[0] is found[1]\n"
    )
    root = str(Path(__file__).parents[2])
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True, cwd=root, timeout=60)


def test_the_output_of_a_class_is_known_from_its_annotations(write: Callable[[str], str]) -> None:
    signature = Signature.of(find(Place.of(write(SHOUT))))
    assert signature.output is not None
    assert signature.output.json_schema() == {"type": "string"}


def test_the_example_finds_an_image_s_colours() -> None:
    palette = str(Path(custom_model.__file__).with_name("palette.py"))
    spec = VersionSpec("1", "a/palette", "custom", "python", f"{palette}:Palette", trust=Trust([palette]))
    engine = registry.engine(spec)
    engine.load(spec, "cpu")
    image = Image.new("RGB", (40, 20), "#ff8800")
    image.paste("#0000ff", (0, 0, 10, 20))
    value = engine.parse({"image": InputFile("x", "image", content=image), "colours": 2})
    (output,) = engine.predict([engine.prepare(value)])
    assert to_jsonable_python(output) == [
        {"hex": "#ff8800", "share": 0.75},
        {"hex": "#0000ff", "share": 0.25},
    ]
