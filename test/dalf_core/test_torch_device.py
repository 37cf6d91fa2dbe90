"""Which device a name means, and that work on a GPU leaves PyTorch as it was."""
from __future__ import annotations

import logging
import threading
from contextlib import nullcontext

import pytest
import torch

from dalf_core import torch_device
from dalf_core.torch_device import FULL_FLOAT32, Switches, choose_device, gpu_work


def switches() -> tuple[str, ...]:
    return (torch.backends.cudnn.conv.fp32_precision, torch.backends.cudnn.rnn.fp32_precision, torch.backends.cuda.matmul.fp32_precision)


def test_cuda_is_never_replaced_in_silence(monkeypatch, caplog):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(RuntimeError, match="cuda"):
        choose_device("cuda")
    with caplog.at_level(logging.INFO):
        assert choose_device("auto").type == "cpu"
    assert "CPU" in caplog.text


def test_a_gpu_always_has_its_index(monkeypatch):
    """Else the same name means another GPU once another is the current one."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "a GPU")
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    assert [str(choose_device(name)) for name in ("auto", "cuda", "cuda:0", "cuda:1")] == ["cuda:1", "cuda:1", "cuda:0", "cuda:1"]
    with pytest.raises(RuntimeError, match="sees 2"):
        choose_device("cuda:2")


@pytest.fixture
def plain_switches():
    before = Switches.now()
    yield
    before.set()


@pytest.mark.parametrize("products", ["highest", "high", "medium"])
@pytest.mark.parametrize("convolutions", [True, False])
def test_full_float32_holds_inside_and_all_is_put_back(plain_switches, convolutions, products):
    torch.backends.cudnn.allow_tf32 = convolutions
    torch.set_float32_matmul_precision(products)
    before = Switches.now()
    with pytest.raises(KeyError), FULL_FLOAT32:
        assert switches() == ("ieee",) * 3
        assert not torch.backends.cudnn.allow_tf32 and not torch.backends.cuda.matmul.allow_tf32      # neither raises an error
        assert torch.get_float32_matmul_precision() == "highest"
        raise KeyError
    assert Switches.now() == before and before.convolutions is convolutions and before.products == products


def test_full_float32_leaves_switches_alone_that_cannot_be_read(plain_switches):
    torch.backends.cudnn.conv.fp32_precision = "ieee"       # the new switch contradicts the old one
    before = Switches.now()
    assert before.convolutions is None and before.new[:2] == ("ieee", "tf32")
    with FULL_FLOAT32:
        assert switches() == ("ieee",) * 3
    assert Switches.now() == before


def test_pytorch_rounds_convolutions_unless_told_otherwise():
    """Why all this is needed."""
    assert torch.backends.cudnn.allow_tf32


def test_full_float32_holds_until_the_last_thread_has_left():
    before, inside, leave = switches(), threading.Event(), threading.Event()

    def work() -> None:
        with FULL_FLOAT32:
            inside.set()
            leave.wait(10)

    other = threading.Thread(target=work)
    with FULL_FLOAT32:
        other.start()
        inside.wait(10)
    assert switches() == ("ieee",) * 3      # the other thread is still at work
    leave.set()
    other.join()
    assert switches() == before


class FakeStream:
    def __init__(self, device: torch.device) -> None:
        self.device, self.waited = device, 0

    def synchronize(self) -> None:
        self.waited += 1


def test_work_runs_on_the_named_gpu_on_a_stream_of_the_threads_own(monkeypatch):
    entered: list[object] = []
    monkeypatch.setattr(torch.cuda, "Stream", FakeStream)
    monkeypatch.setattr(torch.cuda, "device", lambda device: entered.append(device) or nullcontext())
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: entered.append(stream) or nullcontext())
    monkeypatch.setattr(torch_device, "_streams", threading.local())
    first, second = torch.device("cuda", 0), torch.device("cuda", 1)
    before = switches()
    for device in (first, second, second):
        with gpu_work(device):
            assert switches() == ("ieee",) * 3
    assert switches() == before
    devices, streams = entered[::2], entered[1::2]
    assert devices == [first, second, second] and [stream.device for stream in streams] == devices
    assert streams[1] is streams[2] and [stream.waited for stream in streams[:2]] == [1, 2]
    other = threading.Thread(target=lambda: gpu_work(second).__enter__())
    other.start()
    other.join()
    FULL_FLOAT32.__exit__()
    assert entered[-1] is not streams[1] and entered[-1].device == second


def test_nothing_changes_on_the_cpu():
    before = switches()
    with gpu_work(torch.device("cpu")):
        assert switches() == before
