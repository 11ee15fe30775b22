"""The arithmetic that the machine computes natively.

bfloat16 is 2.3 times as fast as float32 where the processor has instructions for it (AMX, AVX512-BF16), and
nine times as slow where it has not; so the default asks the machine.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Literal

from geolatents.logs import LOG

Precision = Literal["float32", "mixed_bfloat16", "mixed_float16"]

PROCESSOR_FLAGS = {"amx_bf16", "avx512_bf16"}
"""Flags in Linux's ``/proc/cpuinfo`` of processors that compute in bfloat16."""

BFLOAT16_GPU = (8, 0)
"""Compute capability of the first GPUs that do (Ampere)."""


def chosen_precision(wanted: Literal["auto"] | Precision) -> Precision:
    """The Keras dtype policy of a training on this machine.

    Args:
        wanted: A policy, or ``auto``: ``mixed_bfloat16`` where it is native, else ``float32``. Weights are
            float32 in both.
    """
    if wanted != "auto":
        return wanted
    found: Precision = "mixed_bfloat16" if _is_native() else "float32"
    LOG.info("precision: %s", found)
    return found


@cache
def processor_has_bfloat16(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether the processor computes in bfloat16; False where it cannot be told."""
    try:
        text = cpuinfo.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    flags = next((line for line in text.splitlines() if line.startswith("flags")), "")
    return bool(PROCESSOR_FLAGS & set(flags.split()))


def _is_native() -> bool:
    import tensorflow as tf  # the estimate of a run asks for the processor alone

    details = map(tf.config.experimental.get_device_details, tf.config.get_visible_devices("GPU"))
    capabilities = [item.get("compute_capability", (0, 0)) for item in details]
    if capabilities:
        return bool(min(capabilities) >= BFLOAT16_GPU)
    return processor_has_bfloat16()
