"""Loading what `from_pretrained` loads, from a folder or from the Hugging Face hub, and nothing unsafe."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from model_types.base import VersionSpec
from model_types.errors import ModelUnavailable

DTYPES = ("auto", "float32", "float16", "bfloat16")
MESSAGE_CHARACTERS = 500
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")


def source(version: VersionSpec, *, config: str = "config.json", trust_code: bool = False) -> dict[str, Any]:
    """Where `from_pretrained` shall look, as its keyword arguments; it shall trust nothing it finds there.

    `config` is the file that a folder must have. With `trust_code` the code that comes with the weights may
    run, if an administrator trusts it. Raises `ModelUnavailable`.
    """
    if trust_code:
        version.trust.require(version.path, "code of its own", revision=version.revision)
    folder = Path(version.path).expanduser()
    if folder.is_dir():
        _check_files(folder, config)
        return {
            "pretrained_model_name_or_path": str(folder),
            "local_files_only": True,
            "trust_remote_code": trust_code,
        }
    if folder.is_absolute() or version.path.startswith((".", "~")):
        raise ModelUnavailable(f"{folder} is not a folder on this machine")
    revision = version.revision or "main"
    cache = version.options.get("cache_dir") or os.environ.get("MODEL_CACHE_DIR")
    if not version.may_download:
        _check_downloaded(version, config, revision, cache)
    return {
        "pretrained_model_name_or_path": version.path,
        "revision": revision,
        "cache_dir": cache,
        "local_files_only": not version.may_download,
        "trust_remote_code": trust_code,
    }


def load(auto_class: Any, version: VersionSpec, device: str, **options: Any) -> Any:
    """The model of `auto_class` (such as `AutoModel`) in evaluation mode on `device`.

    Only safetensors are read. `options` go to `from_pretrained`. Raises `ModelUnavailable`.
    """
    import torch
    from transformers.utils import logging

    where = {**source(version, trust_code=options.pop("trust_remote_code", False)), **options}
    logging.disable_progress_bar()
    with reasons(version):
        model, report = auto_class.from_pretrained(
            **where, dtype=dtype(version, device), use_safetensors=True, output_loading_info=True
        )
        _check_complete(version.path, report)
        return model.to(torch.device(device)).eval()


def load_processor(auto_class: Any, version: VersionSpec, **options: Any) -> Any:
    """The tokenizer, image processor or processor that comes with the weights. Raises `ModelUnavailable`."""
    where = {**source(version, trust_code=options.pop("trust_remote_code", False)), **options}
    with reasons(version):
        return auto_class.from_pretrained(**where)


def dtype(version: VersionSpec, device: str) -> str:
    """The `dtype` that the version asks for: float32 on a CPU unless it says so, else the weights' own."""
    wanted = version.options.get("dtype") or ("float32" if device == "cpu" else "auto")
    if wanted not in DTYPES:
        raise ModelUnavailable(f"dtype {wanted!r} is not one of {', '.join(DTYPES)}")
    return str(wanted)


@contextmanager
def reasons(version: VersionSpec) -> Any:
    """Say in one line why loading has failed, as `ModelUnavailable`."""
    try:
        yield
    except ModelUnavailable:
        raise
    except Exception as error:  # The files are anybody's: what can be wrong with them has no common type.
        reason = " ".join(str(error).split())[:MESSAGE_CHARACTERS] or type(error).__name__
        raise ModelUnavailable(f"{version.path} cannot be loaded: {reason}") from error


def memory_bytes(*models: Any) -> int:
    """What the parameters and buffers of torch modules hold."""
    tensors = [tensor for model in models for tensor in (*model.parameters(), *model.buffers())]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def _check_files(folder: Path, config: str) -> None:
    """Say which file is missing, in better words than a library that has eight names for each."""
    if not (folder / config).is_file():
        raise ModelUnavailable(f"{folder} has no {config}: it is not a Hugging Face model's folder")
    if not any(folder.rglob("*.safetensors")):
        pickled = _names(folder, _PICKLES)
        hint = f"; {pickled[0]} is a pickle, which could run code, and is not read" if pickled else ""
        raise ModelUnavailable(f"{folder} has no model.safetensors{hint}")


def _check_downloaded(version: VersionSpec, config: str, revision: str, cache: str | None) -> None:
    """Say that it is missing, in better words than a library that suggests to go and fetch it."""
    from huggingface_hub import try_to_load_from_cache

    if not isinstance(try_to_load_from_cache(version.path, config, cache, revision), str):
        raise ModelUnavailable(
            f"{version.path} at {revision} has not been downloaded, and lanes may not do so "
            f"(AUTO_DOWNLOAD_MODELS): run `augury models pull {version.model}`"
        )


def _names(folder: Path, patterns: Sequence[str]) -> list[str]:
    return sorted(file.name for pattern in patterns for file in folder.glob(pattern))


def _check_complete(path: str, report: dict[str, Any]) -> None:
    """Refuse weights that do not fill the model: transformers would make up what is missing."""
    missing = sorted([*report["missing_keys"], *(key for key, *_ in report["mismatched_keys"])])
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise ModelUnavailable(f"the weights in {path} lack {missing[0]}{more}, or have another shape")
