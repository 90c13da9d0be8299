"""Loading a causal language model and its tokenizer from a folder or from the Hugging Face hub."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging

from model_types.base import ModelUnavailable, VersionSpec

DTYPES = ("auto", "float32", "float16", "bfloat16")
MESSAGE_CHARACTERS = 500


def load_pretrained(version: VersionSpec, device: str) -> tuple[Any, Any]:
    """The model in evaluation mode on `device`, and its tokenizer.

    Only safetensors are read and no code of the repository is run. Raises `ModelUnavailable`.
    """
    dtype = version.options.get("dtype") or ("float32" if device == "cpu" else "auto")
    if dtype not in DTYPES:
        raise ModelUnavailable(f"dtype {dtype!r} is not one of {', '.join(DTYPES)}")
    source = _source(version)
    logging.disable_progress_bar()
    try:
        tokenizer = AutoTokenizer.from_pretrained(**source)
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            **source, dtype=dtype, use_safetensors=True, output_loading_info=True
        )
        model, report = loaded
        _check_complete(version.path, report)
        return model.to(torch.device(device)).eval(), tokenizer
    except ModelUnavailable:
        raise
    except Exception as error:  # The files are anybody's: what can be wrong with them has no common type.
        reason = " ".join(str(error).split())[:MESSAGE_CHARACTERS] or type(error).__name__
        raise ModelUnavailable(f"{version.path} cannot be loaded: {reason}") from error


def _source(version: VersionSpec) -> dict[str, Any]:
    """Where `from_pretrained` shall look, and that it shall trust nothing it finds."""
    folder = Path(version.path).expanduser()
    if folder.is_dir():
        _check_files(folder)
        return {
            "pretrained_model_name_or_path": str(folder),
            "local_files_only": True,
            "trust_remote_code": False,
        }
    if folder.is_absolute() or version.path.startswith((".", "~")):
        raise ModelUnavailable(f"{folder} is not a folder on this machine")
    return {
        "pretrained_model_name_or_path": version.path,
        "revision": version.revision or "main",
        "cache_dir": version.options.get("cache_dir") or os.environ.get("MODEL_CACHE_DIR"),
        "trust_remote_code": False,
    }


def _check_files(folder: Path) -> None:
    """Say which file is missing, in better words than a library that has eight names for each."""
    if not (folder / "config.json").is_file():
        raise ModelUnavailable(f"{folder} has no config.json: it is not a Hugging Face model's folder")
    if not any(folder.glob("*.safetensors")):
        pickled = sorted(file.name for pattern in ("*.bin", "*.pt", "*.pth") for file in folder.glob(pattern))
        hint = f"; {pickled[0]} is a pickle, which could run code, and is not read" if pickled else ""
        raise ModelUnavailable(f"{folder} has no model.safetensors{hint}")


def _check_complete(path: str, report: dict[str, Any]) -> None:
    """Refuse weights that do not fill the model: transformers would make up what is missing."""
    missing = sorted([*report["missing_keys"], *(key for key, *_ in report["mismatched_keys"])])
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise ModelUnavailable(f"the weights in {path} lack {missing[0]}{more}, or have another shape")
