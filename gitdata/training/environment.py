"""The process that trains: settings that JAX reads once, when it is first imported.

Compiled programs are kept per user, never shared: whoever can write there can make us run what they like. JAX hits
that cache also across CPUs that differ in what XLA calls pseudo-features, and then prints an alarming line which is
harmless here, so XLA's log is kept from people.
"""

from __future__ import annotations

import hashlib
import os
import platform
import sys
from pathlib import Path


def prepare(compile_cache: Path | None) -> None:
    """Set up JAX for training in this process; to be called before anything imports it."""
    if os.environ.get("TF_CPP_MIN_LOG_LEVEL", "1") == "1":  # 1 is what JAX sets, and a child inherits
        os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    import jax

    if compile_cache is None:
        return
    folder = compile_cache / _compiled_for()
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    settings = {
        "jax_compilation_cache_dir": str(folder),
        "jax_persistent_cache_min_compile_time_secs": 0.0,
        "jax_persistent_cache_min_entry_size_bytes": -1,
    }
    for name, value in settings.items():
        jax.config.update(name, value)  # type: ignore[no-untyped-call]


def machine() -> dict[str, str]:
    """What else than programs the bits of a result depend on; `features`: a digest of those of the processor."""
    import jax

    devices = jax.local_devices()
    return {
        "devices": f"{len(devices)} × {devices[0].device_kind}",
        "features": hashlib.sha256(_flags().encode()).hexdigest()[:16],
        "processors": str(len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count()),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
    }


def _compiled_for() -> str:
    """What a compiled program depends on: the compiler and the processor's features."""
    from importlib.metadata import version

    return hashlib.sha256(f"{version('jaxlib')} {sys.platform} {_flags()}".encode()).hexdigest()[:16]


def _flags() -> str:
    """The features of the processor, as the system lists them; empty where it does not."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    return next((line for line in lines if line.startswith(("flags", "Features"))), "")
