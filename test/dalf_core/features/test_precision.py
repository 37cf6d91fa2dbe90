"""Which precision is taken, on every kind of machine."""
from __future__ import annotations

import pytest

from dalf_core import DALF
from dalf_core.features import acceleration, precision
from dalf_core.features.precision import choose_precision

FAULT = acceleration.openvino_fault()
CPU = {"on_gpu": False, "corrected": True, "on_openvino": True}
GPU = {"on_gpu": True, "corrected": True, "on_openvino": False}


def has_bfloat16(monkeypatch: pytest.MonkeyPatch, answer: bool, takes: str = "float32") -> None:
    monkeypatch.setattr(precision, "has_native_bfloat16", lambda: answer)
    monkeypatch.setattr(precision, "openvino_precision", lambda _: takes)


@pytest.mark.parametrize(("native", "machine", "taken"), [
    (True, CPU, "bfloat16"), (False, CPU, "float32"), (True, {**CPU, "on_openvino": False}, "float32"),
    (True, GPU, "float16"), (False, GPU, "float16"), (True, {**GPU, "corrected": False}, "float32"),
    (True, {**CPU, "on_openvino": False, "corrected": False}, "float32")])
def test_auto_takes_the_fastest_that_the_machine_computes_in(monkeypatch, caplog, native, machine, taken):
    has_bfloat16(monkeypatch, native)
    assert choose_precision("auto", **machine) == taken
    assert choose_precision("float32", **machine) == "float32" and not caplog.records


@pytest.mark.parametrize(("asked", "machine"), [
    ("float16", CPU), ("float16", {**GPU, "corrected": False}), ("bfloat16", GPU), ("bfloat16", {**CPU, "on_openvino": False})])
def test_one_that_cannot_be_had_is_refused(monkeypatch, asked, machine):
    has_bfloat16(monkeypatch, True)
    with pytest.raises(ValueError, match=asked):
        choose_precision(asked, **machine)


@pytest.mark.parametrize(("takes", "words"), [("float32", "takes float32 instead"), ("bfloat16", "emulates it")])
def test_bfloat16_asked_of_a_processor_without_it_is_told(monkeypatch, caplog, takes, words):
    has_bfloat16(monkeypatch, False, takes)
    assert choose_precision("bfloat16", **CPU) == takes
    assert len(caplog.records) == 1 and words in caplog.text and "does not compute in it" in caplog.text
    caplog.clear()
    has_bfloat16(monkeypatch, True)
    assert choose_precision("bfloat16", **CPU) == "bfloat16" and not caplog.records


@pytest.mark.skipif(bool(FAULT), reason=FAULT)
@pytest.mark.parametrize(("capabilities", "native"), [(["FP32", "INT8", "BIN", "EXPORT_IMPORT"], False), (["BF16", "FP32"], True)])
def test_the_processor_is_asked_through_openvino(monkeypatch, capabilities, native):
    class Core:
        def get_property(self, device: str, name: str) -> list[str]:
            assert (device, name) == ("CPU", "OPTIMIZATION_CAPABILITIES")
            return capabilities

    monkeypatch.setattr(acceleration.quiet_openvino(), "Core", Core)
    assert acceleration.has_native_bfloat16() is native
    assert choose_precision("auto", **CPU) == ("bfloat16" if native else "float32")


@pytest.mark.skipif(bool(FAULT), reason=FAULT)
def test_what_openvino_computes_in_is_what_it_says():
    assert acceleration.openvino_precision("float32") == "float32"
    if acceleration.has_native_bfloat16():
        assert acceleration.openvino_precision("bfloat16") == "bfloat16"


def test_the_extractor_tells_what_is_in_use():
    dalf = DALF(device="cpu")
    native = dalf.backend.startswith("openvino") and acceleration.has_native_bfloat16()
    assert dalf.precision == ("bfloat16" if native else "float32")
    assert DALF(device="cpu", backend="pytorch").precision == "float32"
    assert DALF(device="cpu", geometry="original").precision == "float32"


@pytest.mark.gpu
def test_a_gpu_runs_float16_as_one_graph():
    dalf = DALF(device="cuda")
    assert (dalf.precision, dalf.backend) == ("float16", "pytorch, one CUDA graph")
