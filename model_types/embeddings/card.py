"""What a checkpoint's card says about its use, in the files that sentence-transformers keeps beside it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor, nn
from transformers.utils.hub import cached_file

from model_types import weights
from model_types.activations import activation
from model_types.base import ModelUnavailable, VersionSpec
from model_types.embeddings.pooling import poolings

ELSEWHERE = "; the engine sentence-transformers may know it"
# These two may be asked for of every model, as with sentence-transformers.
DEFAULT_PROMPTS: Mapping[str, str] = {"query": "", "document": ""}
# Keys of a Dense module's configuration that would have it do something else.
_DENSE_EXTRAS = {"use_residual": False, "module_input_name": "sentence_embedding", "module_output_name": None}


class Dense(nn.Module):
    """A linear layer on pooled vectors, and its activation."""

    def __init__(self, linear: nn.Linear, activation: nn.Module) -> None:
        super().__init__()
        self.linear = linear
        self.activation = activation
        self.dimensions = linear.out_features

    def forward(self, vectors: Tensor) -> Tensor:
        activated: Tensor = self.activation(self.linear(vectors))
        return activated


@dataclass(frozen=True, slots=True)
class Card:
    """How a model is used. A checkpoint that has no card is pooled by the mean, and its prompts are empty.

    `max_tokens` counts special tokens.
    """

    poolings: Sequence[str] = ("mean",)
    dense: Sequence[Dense] = ()
    prompts: Mapping[str, str] = field(default_factory=lambda: DEFAULT_PROMPTS)
    default_prompt_name: str | None = None
    max_tokens: int | None = None
    lower_case: bool = False

    def prompted(self, text: str, prompt_name: str | None) -> str:
        """The text as the model reads it. Raises `ValueError` for a prompt that the card does not define."""
        name = prompt_name or self.default_prompt_name
        if name is not None and name not in self.prompts:
            raise unknown_prompt(name, self.prompts)
        text = text if name is None else self.prompts[name] + text
        return text.lower() if self.lower_case else text


def read(version: VersionSpec) -> Card:
    """The card of a checkpoint. Raises `ModelUnavailable` where it asks for what is not known here."""
    with weights.reasons(version):
        modules = _json(version, "modules.json")
        if modules is None:
            return Card()
        settings = _json(version, "config_sentence_transformers.json") or {}
        transformer = _json(version, "sentence_bert_config.json") or {}
        pooling, *others = _after_transformer(version, modules)
        return Card(
            poolings=_poolings(version, pooling["path"]),
            dense=[_dense(version, module["path"]) for module in others if _kind(module) == "Dense"],
            prompts={**DEFAULT_PROMPTS, **(settings.get("prompts") or {})},
            default_prompt_name=settings.get("default_prompt_name"),
            max_tokens=transformer.get("max_seq_length"),
            lower_case=bool(transformer.get("do_lower_case")),
        )


def unknown_prompt(name: str, prompts: Iterable[str]) -> ValueError:
    """The error for a prompt that the model's card does not define."""
    known = ", ".join(sorted(prompts))
    return ValueError(f"input.prompt_name: the model's card defines no prompt {name!r}; it has: {known}")


def _after_transformer(
    version: VersionSpec, modules: Sequence[Mapping[str, str]]
) -> Sequence[Mapping[str, str]]:
    """The pooling and what comes after it, which may be any number of Dense and Normalize."""
    kinds = [_kind(module) for module in modules]
    if kinds[:2] != ["Transformer", "Pooling"] or not {*kinds[2:]} <= {"Dense", "Normalize"}:
        raise ModelUnavailable(
            f"modules.json of {version.path} is {' → '.join(kinds)}, not known here{ELSEWHERE}"
        )
    return modules[1:]


def _kind(module: Mapping[str, str]) -> str:
    """Its class; where that lives has changed over the years."""
    return module["type"].rpartition(".")[2]


def _poolings(version: VersionSpec, path: str) -> tuple[str, ...]:
    config = _json(version, f"{path}/config.json") or {}
    if config.get("include_prompt") is False:
        raise ModelUnavailable(f"{version.path} pools without its prompt, not known here{ELSEWHERE}")
    try:
        return poolings(config)
    except KeyError as error:
        raise ModelUnavailable(f"{version.path} pools by {error}, not known here{ELSEWHERE}") from error


def _dense(version: VersionSpec, path: str) -> Dense:
    """A linear layer with its activation. Only an activation of torch is taken, and only safetensors."""
    config = _json(version, f"{path}/config.json") or {}
    extras = [key for key, usual in _DENSE_EXTRAS.items() if config.get(key, usual) not in (usual, None)]
    if extras:
        raise ModelUnavailable(f"{path} of {version.path} asks for {extras[0]}, not known here{ELSEWHERE}")
    file = _file(version, f"{path}/model.safetensors")
    if file is None:
        raise ModelUnavailable(f"{version.path} has no {path}/model.safetensors")
    linear = nn.Linear(config["in_features"], config["out_features"], bias=config.get("bias", True))
    state = {name.removeprefix("linear."): tensor for name, tensor in load_file(file).items()}
    linear.load_state_dict(state)
    return Dense(linear, activation(config.get("activation_function", "torch.nn.Tanh")))


def _json(version: VersionSpec, name: str) -> Any:
    """What a file of the checkpoint holds; None where there is no such file."""
    file = _file(version, name)
    return None if file is None else json.loads(file.read_text("utf-8"))


def _file(version: VersionSpec, name: str) -> Path | None:
    where = weights.source(version)
    found = cached_file(
        where.pop("pretrained_model_name_or_path"),
        name,
        **{key: value for key, value in where.items() if key != "trust_remote_code"},
        _raise_exceptions_for_missing_entries=False,
    )
    return None if found is None else Path(found)
