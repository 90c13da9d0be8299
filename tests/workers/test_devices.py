"""Which device a lane gets, on machines with this and that in them."""

from __future__ import annotations

import pytest

from model_types.errors import ModelUnavailable
from workers.devices import Accelerators, accelerators, choose_device, device_kind
from workers.settings import WorkerSettings

NOTHING, TWO_GPUS, MAC = Accelerators(), Accelerators(cuda=2), Accelerators(mps=True)


@pytest.mark.parametrize(
    ("wanted", "found", "devices"),
    [
        ("auto", NOTHING, ["cpu", "cpu", "cpu"]),
        ("auto", TWO_GPUS, ["cuda:0", "cuda:1", "cuda:0"]),
        ("auto", MAC, ["mps", "mps", "mps"]),
        ("cpu", TWO_GPUS, ["cpu", "cpu", "cpu"]),
        ("cuda", TWO_GPUS, ["cuda:0", "cuda:1", "cuda:0"]),
        ("cuda:1", TWO_GPUS, ["cuda:1", "cuda:1", "cuda:1"]),
        ("mps", MAC, ["mps", "mps", "mps"]),
    ],
)
def test_lanes_share_out_what_there_is(wanted: str, found: Accelerators, devices: list[str]) -> None:
    assert [choose_device(wanted, slot=slot, find=lambda: found) for slot in range(3)] == devices
    assert device_kind(wanted, slot=1, find=lambda: found) == devices[1].partition(":")[0]


@pytest.mark.parametrize(
    ("wanted", "found", "there"),
    [
        ("cuda", NOTHING, "cpu"),
        ("cuda:0", MAC, "mps, cpu"),
        ("cuda:2", TWO_GPUS, "cuda:0, cuda:1, cpu"),
        ("mps", TWO_GPUS, "cuda:0, cuda:1, cpu"),
    ],
)
def test_a_device_that_is_asked_for_and_not_there_is_said_to_be_missing(
    wanted: str, found: Accelerators, there: str
) -> None:
    with pytest.raises(ModelUnavailable) as refusal:
        choose_device(wanted, slot=0, find=lambda: found)
    assert device_kind(wanted, slot=0, find=lambda: found) == ""
    assert str(refusal.value) == f"MODEL_DEVICE is {wanted}, but this machine has only {there}"


@pytest.mark.slow
def test_what_is_found_is_what_torch_can_use() -> None:
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    assert accelerators() == Accelerators(count, torch.backends.mps.is_available())


def test_without_leave_for_gpus_every_lane_computes_on_the_cpu() -> None:
    def settings(**values: object) -> WorkerSettings:
        return WorkerSettings.model_validate(values)

    assert settings(model_device="cuda:1").device == "cuda:1"
    assert settings(model_device="cuda:1", enable_gpu=False).device == "cpu"
    with pytest.raises(ValueError, match="model_device"):
        settings(model_device="gpu")
