"""What becomes of checkpoints of diffusers that are broken, unsafe, or to be loaded in another way."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from model_types.errors import ModelUnavailable
from tests.model_types.pictures import pixels, same_images
from tests.model_types.test_text_to_image import checkpoint, draw, draw_together, loaded

__all__ = ["checkpoint"]

pytestmark = pytest.mark.slow

CODE = "raise SystemExit('code of a stranger has run')\n"


@pytest.fixture
def copy(checkpoint: Path, tmp_path: Path) -> Path:
    """The tiny checkpoint, to be broken."""
    return Path(shutil.copytree(checkpoint, tmp_path / "copy"))


def name_in_index(folder: Path, **named: Any) -> None:
    index = folder / "model_index.json"
    index.write_text(json.dumps(json.loads(index.read_text()) | named))


def refusal(folder: Path, **options: Any) -> str:
    with pytest.raises(ModelUnavailable) as refused, loaded(folder, **options):
        pass
    return str(refused.value)


def test_a_folder_that_is_no_pipelines_is_refused(copy: Path) -> None:
    (copy / "model_index.json").unlink()
    assert "has no model_index.json" in refusal(copy)


def test_a_part_without_weights_is_named(copy: Path) -> None:
    (copy / "vae" / "diffusion_pytorch_model.safetensors").unlink()
    assert "no file named diffusion_pytorch_model.safetensors found in directory" in refusal(copy)


def test_a_tensor_that_is_missing_is_named(copy: Path) -> None:
    file = copy / "unet" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(file)
    del tensors["conv_out.weight"]
    save_file(tensors, file)
    assert refusal(copy) == f"the weights in {copy} lack conv_out.weight of the unet"


def test_pickles_are_not_read(copy: Path) -> None:
    file = copy / "unet" / "diffusion_pytorch_model.safetensors"
    torch.save(load_file(file), file.with_suffix(".bin"))
    file.unlink()
    assert "no file named diffusion_pytorch_model.safetensors" in refusal(copy)


def test_code_that_comes_with_the_weights_does_not_run(copy: Path) -> None:
    for place in (copy, copy / "unet"):
        (place / "stranger.py").write_text(CODE)
    name_in_index(copy, unet=["stranger", "UNet"])
    assert "contains custom code in stranger.py" in refusal(copy)
    name_in_index(copy, _class_name=["stranger", "Pipeline"])
    assert "AutoPipeline can't find a pipeline" in refusal(copy)


def test_what_draws_no_images_is_refused(copy: Path) -> None:
    name_in_index(copy, _class_name="AudioLDMPipeline")
    assert "AutoPipeline can't find a pipeline linked to AudioLDMPipeline" in refusal(copy)


def test_a_scheduler_that_does_not_exist_is_refused(checkpoint: Path) -> None:
    assert (
        refusal(checkpoint, scheduler="FastestScheduler") == "diffusers has no scheduler 'FastestScheduler'"
    )
    assert refusal(checkpoint, scheduler="AutoencoderKL") == "diffusers has no scheduler 'AutoencoderKL'"


def test_a_variant_that_is_not_there_is_refused(checkpoint: Path) -> None:
    assert "variant=fp16" in refusal(checkpoint, variant="fp16")


def test_options_choose_the_numbers_and_the_memory_that_drawing_takes(checkpoint: Path) -> None:
    with loaded(
        checkpoint,
        dtype="bfloat16",
        attention_slicing=True,
        vae_slicing=True,
        vae_tiling=True,
    ) as engine:
        bfloat16_bytes = 2 * sum(tensor.numel() for tensor in _tensors(engine))
        assert engine.memory_bytes() == pytest.approx(bfloat16_bytes, rel=0.01)
        (file,) = draw(engine)
        assert pixels(file).shape == (64, 64, 3)


def test_a_scheduler_that_throws_dice_at_every_step_keeps_to_the_seeds(checkpoint: Path) -> None:
    with loaded(checkpoint, scheduler="DDPMScheduler") as engine:
        together = draw_together(engine, *({"seed": seed} for seed in range(3)))
        assert all(same_images(output, draw(engine, seed=seed)) for seed, output in enumerate(together))
    with loaded(checkpoint) as engine:
        assert not same_images(together[0], draw(engine, seed=0))


def _tensors(engine: Any) -> list[torch.Tensor]:
    run = engine._pipelines["text"].run
    return [tensor for part in (run.unet, run.vae, run.text_encoder) for tensor in part.parameters()]
