"""Models whose code comes with their weights, for those that an administrator trusts.

`from_pretrained` of transformers 5 builds a model without memory and then fills in what the weights hold.
Code that was written for transformers 4 computes tables and masks while it is built, which no file holds:
they would stay whatever the memory held before, and the model would write nonsense without an error. Here a
model is built in memory, as its code was written for, and filled from safetensors.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import snapshot_download
from safetensors.torch import load_file
from transformers import GenerationConfig, GenerationMixin, PreTrainedModel
from transformers.cache_utils import Cache
from transformers.dynamic_module_utils import get_class_from_dynamic_module
from transformers.initialization import no_init_weights

from model_types import weights
from model_types.base import ModelUnavailable, VersionSpec

WANTED_FILES = ["*.json", "*.py", "*.txt", "*.model", "*.safetensors"]


def folder(version: VersionSpec) -> Path:
    """The folder of a version whose code is trusted; a repository is fetched. Raises `ModelUnavailable`."""
    where = weights.source(version, trust_code=True)
    place = Path(where["pretrained_model_name_or_path"])
    with weights.reasons(version):
        if not place.is_dir():
            fetched = snapshot_download(
                version.path,
                revision=where["revision"],
                cache_dir=where["cache_dir"],
                local_files_only=where["local_files_only"],
                allow_patterns=WANTED_FILES,
            )
            place = Path(fetched)
        _check_own_code(place)
    return place


def load(auto_class: str, version: VersionSpec, device: str, place: Path) -> Any:
    """The model that the code in `place` calls its `auto_class`, in evaluation mode on `device`.

    `auto_class` is the name of one of transformers' auto classes, `place` what `folder` has given. Raises
    `ModelUnavailable`.
    """
    dtype = weights.dtype(version, device)
    with weights.reasons(version):
        model_class, config = _own_code(auto_class, place)
        with no_init_weights():
            model = model_class._from_config(config, **({} if dtype == "auto" else {"dtype": dtype}))
        if hasattr(model, "all_tied_weights_keys"):
            model.tie_weights()
        _fill(model, place)
        _check_sound(model, place)
        _accept_older_code(model)
        return model.to(torch.device(device)).eval()


def _own_code(auto_class: str, place: Path) -> tuple[Any, Any]:
    """The folder's class of models and its configuration.

    The auto classes themselves would remember the first class that came with a configuration's, and take it
    for another folder's too.
    """
    named = json.loads((place / "config.json").read_text()).get("auto_map", {})
    if not {"AutoConfig", auto_class} <= named.keys():
        raise ModelUnavailable(f"{place / 'config.json'} names no code for {auto_class}")
    config_class: Any = get_class_from_dynamic_module(named["AutoConfig"], str(place))
    model_class = get_class_from_dynamic_module(named[auto_class], str(place))
    return model_class, config_class.from_pretrained(place)


def _check_own_code(place: Path) -> None:
    """Refuse a folder that names code of another repository, which nobody has said to trust."""
    for file in (place / "config.json", place / "tokenizer_config.json"):
        named = json.loads(file.read_text()).get("auto_map") if file.is_file() else None
        if "--" in json.dumps(named):
            raise ModelUnavailable(f"{file} asks for the code of another repository: {named}")


def _weight_files(place: Path) -> Iterator[Path]:
    index = place / "model.safetensors.index.json"
    if index.is_file():
        names = sorted(set(json.loads(index.read_text())["weight_map"].values()))
        yield from (place / name for name in names)
    else:
        yield place / "model.safetensors"


def _fill(model: torch.nn.Module, place: Path) -> None:
    """Load the weights, and refuse what leaves a part of the model as it was built."""
    state = model.state_dict()
    filled: set[int] = set()
    for file in _weight_files(place):
        found = load_file(file)
        model.load_state_dict(found, strict=False)
        filled |= {state[name].data_ptr() for name in found if name in state}
    # What is tied to another tensor shares its memory, and is filled with it.
    missing = sorted(name for name, tensor in state.items() if tensor.data_ptr() not in filled)
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise ModelUnavailable(f"the weights in {place} lack {missing[0]}{more}")


def _check_sound(model: torch.nn.Module, place: Path) -> None:
    """Refuse a model with a tensor that has no memory or no numbers in it, before it writes nonsense."""
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        if tensor.is_meta or tensor.isnan().any():
            raise ModelUnavailable(f"{name} of the model in {place} has not been initialised")


def _accept_older_code(model: torch.nn.Module) -> None:
    """Give code written for transformers 4 what it finds missing in transformers 5.

    Models inherited `generate`, and had to prepare its inputs for a cache that was not there yet; caches told
    their length by another name.
    """
    cache: Any = Cache
    if not hasattr(cache, "get_usable_length"):
        cache.get_usable_length = lambda self, _, layer_index=0: self.get_seq_length(layer_index)
    for module in model.modules():
        kind = type(module)
        could_write = hasattr(kind, "prepare_inputs_for_generation")
        if could_write and isinstance(module, PreTrainedModel) and not isinstance(module, GenerationMixin):
            module.__class__ = type(kind.__name__, (GenerationMixin, kind), {"__module__": kind.__module__})
            module.generation_config = GenerationConfig()
