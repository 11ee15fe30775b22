"""The default arithmetic is the one that the machine computes natively."""

import pytest

from geolatents.learning import precision as module
from geolatents.learning.precision import chosen_precision, processor_has_bfloat16


@pytest.mark.parametrize(
    ("flags", "has_it"),
    [
        ("fpu avx2 avx512f avx512_bf16 amx_bf16", True),
        ("fpu avx512_bf16", True),
        ("fpu avx avx2 fma", False),
        ("fpu not_avx512_bf16x", False),
    ],
)
def test_reads_the_processors_flags(tmp_path, flags, has_it):
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(f"processor\t: 0\nmodel name\t: amx_bf16 by name\nflags\t\t: {flags}\n")
    assert processor_has_bfloat16(cpuinfo) == has_it


def test_where_nothing_is_known_it_has_not(tmp_path):
    assert not processor_has_bfloat16(tmp_path / "missing")
    (tmp_path / "arm").write_text("processor : 0\nFeatures : fp asimd\n")
    assert not processor_has_bfloat16(tmp_path / "arm")


@pytest.mark.parametrize(("native", "policy"), [(True, "mixed_bfloat16"), (False, "float32")])
def test_auto_takes_what_is_native_and_all_else_is_what_was_asked_for(monkeypatch, native, policy):
    monkeypatch.setattr(module, "processor_has_bfloat16", lambda: native)
    assert chosen_precision("auto") == policy
    assert chosen_precision("mixed_bfloat16") == "mixed_bfloat16"
    assert chosen_precision("float32") == "float32"


@pytest.mark.parametrize(
    ("capability", "policy"),
    [((9, 0), "mixed_bfloat16"), ((8, 0), "mixed_bfloat16"), ((7, 5), "float32")],
)
def test_a_gpu_counts_before_the_processor(monkeypatch, capability, policy):
    config = module_config()
    monkeypatch.setattr(config, "get_visible_devices", lambda kind: ["GPU:0"])
    details = {"compute_capability": capability}
    monkeypatch.setattr(config.experimental, "get_device_details", lambda device: details)
    assert chosen_precision("auto") == policy


def module_config():
    import tensorflow as tf

    return tf.config
