"""Machines that a study may run on: what their makers publish, and what is assumed of the rest."""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from trustrace.core.errors import ConfigError
from trustrace.models.shapes import StoredDtype

Where = Literal["h200", "h100", "a100", "here"]


@dataclass(frozen=True, kw_only=True)
class Machine:
    """One device with its host. Rates are those that are reached: a published peak times the share that is assumed of it.

    Attributes:
        name: What it is called.
        half: Matrix products in bfloat16 or float16, floating-point operations a second.
        single: Those in float32, without reduced-precision shortcuts.
        double: Those in float64.
        factored: Factorisations in float64.
        memory: Bytes a second between the device and its memory.
        processor: Bytes a second that one process of numpy reads and writes.
        operation: Seconds for a device to be told of one tensor operation.
        download: Bytes a second from the hub, for all devices of a host together.
        load: Bytes a second from the disk into the device.
        device_bytes: The device's memory, as its maker gives it; without a bound where it is not known.
        cache_bytes: Keys and values that a batch of answers may hold, as generation takes them.
        assumptions: What each rate is made of.
    """

    name: str
    half: float
    single: float
    double: float
    factored: float
    memory: float
    device_bytes: float = math.inf
    processor: float = 5e9
    operation: float = 10e-6
    download: float = 200e6
    load: float = 1.5e9
    cache_bytes: int = 8 * 2**29
    assumptions: tuple[tuple[str, str, str], ...]

    def products(self, dtype: StoredDtype) -> float:
        """The rate of matrix products in `dtype`."""
        return self.single if dtype == "float32" else self.half


HALF_SHARE, SINGLE_SHARE, DOUBLE_SHARE, FACTOR_SHARE, MEMORY_SHARE = 0.4, 0.6, 0.5, 0.25, 0.6


def machine(name: str) -> Machine:
    """The machine called `name`; ``here`` measures the one that this runs on, for some two seconds.

    Raises:
        ConfigError: it is not known.
    """
    if name == "here":
        return measured()
    if name not in _PUBLISHED:
        raise ConfigError(f"--on {name}: no such machine; there are {', '.join(_PUBLISHED)}, and `here` for this one")
    half, single, double, memory, size, source = _PUBLISHED[name]
    return Machine(
        name=name.upper(),
        half=half * HALF_SHARE,
        single=single * SINGLE_SHARE,
        double=double * DOUBLE_SHARE,
        factored=double * FACTOR_SHARE,
        memory=memory * MEMORY_SHARE,
        device_bytes=size,
        assumptions=(
            _share("bfloat16 products", half / 1e12, "TFLOP/s", HALF_SHARE, source),
            _share("float32 products", single / 1e12, "TFLOP/s", SINGLE_SHARE, source),
            _share("float64 products", double / 1e12, "TFLOP/s", DOUBLE_SHARE, source),
            _share("float64 factorisations", double / 1e12, "TFLOP/s", FACTOR_SHARE, source),
            _share("memory bandwidth", memory / 1e9, "GB/s", MEMORY_SHARE, source),
            ("device memory", f"{size / 1e9:.3g} GB", source.removesuffix(", dense")),
        ),
    )


def assumed(machine: Machine) -> list[tuple[str, str, str]]:
    """What a forecast on `machine` takes for granted: what, how much, and where that is from."""
    return [
        *machine.assumptions,
        ("numpy on the processor", f"{machine.processor / 1e9:.3g} GB/s", _origin(machine, "assumed, one process")),
        ("a tensor operation", f"{machine.operation * 1e6:.3g} us", _origin(machine, "assumed: Python and a launch")),
        ("download", f"{machine.download / 1e6:.3g} MB/s", "assumed; all devices of a host share it"),
        ("loading weights", f"{machine.load / 1e9:.3g} GB/s", "assumed: local disk to device"),
    ]


def measured() -> Machine:
    """The machine that this runs on, by processor time: one thread is measured as one thread is used."""
    import torch

    ones = torch.ones(768, 768)
    twice = ones.double()
    single = _rate(lambda: ones @ ones, amount=2.0 * 768**3)
    double = _rate(lambda: twice @ twice, amount=2.0 * 768**3)
    kernel = torch.eye(768, dtype=torch.float64)
    factored = _rate(lambda: torch.cholesky_inverse(torch.linalg.cholesky(kernel)), amount=768.0**3)
    block = torch.zeros(4_000_000)
    memory = _rate(lambda: block.add_(1.0), amount=2.0 * block.numel() * 4)
    small = torch.zeros(8)
    operation = 1 / _rate(lambda: small.add_(1.0), amount=1.0)
    return replace(
        machine("h200"),
        name="this machine",
        half=single,
        single=single,
        double=double,
        factored=factored,
        memory=memory,
        device_bytes=math.inf,
        processor=memory,
        operation=operation,
        cache_bytes=2**29,
        assumptions=(
            ("float32 products", f"{single / 1e9:.3g} GFLOP/s", "measured now, 768 x 768"),
            ("float64 products", f"{double / 1e9:.3g} GFLOP/s", "measured now, 768 x 768"),
            ("float64 factorisations", f"{factored / 1e9:.3g} GFLOP/s", "measured now, 768 x 768"),
            ("memory bandwidth", f"{memory / 1e9:.3g} GB/s", "measured now, 16 MB"),
        ),
    )


def _share(what: str, peak: float, unit: str, share: float, source: str) -> tuple[str, str, str]:
    return what, f"{share:.0%} of {peak:.4g} {unit}", f"{source}; the share is assumed"


def _origin(machine: Machine, otherwise: str) -> str:
    return "measured now" if machine.name == "this machine" else otherwise


def _rate(work: Callable[[], object], *, amount: float, seconds: float = 0.25) -> float:
    """How much of `amount` is done a second of this process's time; the first call warms up."""
    work()
    started, count = time.process_time(), 0
    while (taken := time.process_time() - started) < seconds:
        work()
        count += 1
    return amount * count / taken


_PUBLISHED: Mapping[str, tuple[float, float, float, float, float, str]] = {
    "h200": (989e12, 67e12, 67e12, 4800e9, 141e9, "NVIDIA H200 SXM data sheet, dense"),
    "h100": (989e12, 67e12, 67e12, 3350e9, 80e9, "NVIDIA H100 SXM data sheet, dense"),
    "a100": (312e12, 19.5e12, 19.5e12, 2039e9, 80e9, "NVIDIA A100 80 GB SXM data sheet, dense"),
}
"""Peak rates: bfloat16, float32, float64 (tensor cores), memory; bytes of memory; and who says so."""
