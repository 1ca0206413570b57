"""What this machine's processor can do, and how threads of a runtime wait on it."""

from __future__ import annotations

from pathlib import Path

OPENMP = {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "1000"}
"""Environment of a process in which a runtime works. Its threads sleep soon while they wait for each other. By default
they spin for long and keep other work off the cores: with both cores of a small machine busy, `light` took 1.46
processor seconds a megapixel in ncnn with the default and 0.6 with these settings. Sleeping at once would cost more
than it saves: on two idle cores a tile of 256² took 28 ms, and 15 ms with a short spin."""


def has_bfloat16() -> bool:
    """Whether this processor multiplies in bfloat16; on others bfloat16 is many times slower than float32.

    False without `/proc/cpuinfo`, as on macOS and Windows.
    """
    try:
        words = set(Path("/proc/cpuinfo").read_text().split())
    except OSError:
        return False
    return not words.isdisjoint({"avx512_bf16", "amx_bf16"})
