"""Two processes that share a batch do what one does with the whole of it."""
from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from dalf_training.checkpoint import RunFolder
from dalf_training.config import TrainingConfig, to_plain
from dalf_training.distributed import World, _WholeBatchNorm, join_world, share_batch_norms


def test_two_processes_are_as_one(photo_folder: Path, small_config: TrainingConfig, tmp_path: Path) -> None:
    """Through the command, as torchrun starts it: two steps, all parts of the network, no dropout.

    The steps are small, since Adam makes steps of full size of gradients that are but rounding.
    """
    config = replace(small_config, mode="end2end-fl", steps=2, dropout=0.0, learning_rate=1e-7)
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(to_plain(config)))
    command = [sys.executable, "-m", "dalf_training", "--images", str(photo_folder), "--config", str(tmp_path / "config.yaml"),
               "--cache", str(tmp_path / "cache")]
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    shared = {**os.environ, "OMP_NUM_THREADS": "1"}
    two = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
    started = [subprocess.Popen([*command, "--output", str(tmp_path / name)], env={**shared, **environment}, stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT, text=True)
               for name, environment in (("one", {}), *(("two", {**two, "RANK": rank, "LOCAL_RANK": rank}) for rank in ("0", "1")))]
    outputs = [process.communicate(timeout=300)[0] for process in started]
    assert [process.returncode for process in started] == [0, 0, 0], "\n".join(outputs)
    one, together = (RunFolder(tmp_path / name).load() for name in ("one", "two"))
    assert one["network"].keys() == together["network"].keys()
    for name, tensor in one["network"].items():
        assert torch.allclose(tensor.float(), together["network"][name].float(), atol=1e-4, rtol=1e-3), name
    means = [[state["exp_avg"] for state in checkpoint["optimizer"]["state"].values()] for checkpoint in (one, together)]
    largest = max(float(mean.norm()) for mean in means[0])
    for ours, theirs in zip(*means):        # of the gradient
        # small gradients differ by some per cent: rounding moves samples, and decides between negatives that are as hard
        assert (ours - theirs).norm() <= 5e-2 * ours.norm() + 1e-4 * largest
    lines = [[json.loads(line) for line in (tmp_path / name / "history.jsonl").read_text().splitlines()] for name in ("one", "two")]
    for ours, theirs in zip(*lines):
        if "score" in ours:         # there are few keypoints: rounding may make one match more
            assert ours["score"] == pytest.approx(theirs["score"], abs=0.02)
            continue
        for name in ("loss", "descriptor_loss", "matches", "accuracy", "keypoints"):
            assert ours[name] == pytest.approx(theirs[name], rel=1e-3)


def test_the_gpu_that_was_asked_for_is_the_current_one(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    for device in (torch.device("cuda", 1), torch.device("cuda"), torch.device("cpu")):
        with join_world(device) as world:
            assert world == World(0, 1, device)
    assert chosen == [torch.device("cuda", 1)]


def test_batch_norms_of_one_process_are_the_usual_ones(tmp_path: Path) -> None:
    """With a single process in the group, the shared batch norm is PyTorch's, gradients and running statistics included."""
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/meeting", rank=0, world_size=1)
    try:
        network = torch.nn.Sequential(torch.nn.Conv2d(2, 3, 3), torch.nn.BatchNorm2d(3, affine=False))
        plain = network[1]
        share_batch_norms(network, World(0, 2, torch.device("cpu")))
        assert isinstance(network[1], _WholeBatchNorm) and [*network[1].state_dict()] == [*plain.state_dict()]
        x = torch.randn(4, 3, 5, 6, requires_grad=True)
        gradients = []
        for norm in (plain, network[1]):
            y = norm(x * 3 + 1)
            gradients.append((y, *torch.autograd.grad((y.sin() * torch.arange(6)).sum(), x)))
        for ours, theirs in zip(*gradients):
            assert torch.allclose(ours, theirs, atol=1e-5)
        for name, value in plain.state_dict().items():
            assert torch.allclose(value.float(), network[1].state_dict()[name].float(), rtol=1e-5)
        assert torch.allclose(plain.eval()(x), network[1].eval()(x), atol=1e-6)
    finally:
        torch.distributed.destroy_process_group()
