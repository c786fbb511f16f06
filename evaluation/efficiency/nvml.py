"""Memory and energy of one GPU, read through NVML; where there is no GPU, the reason why."""

from dataclasses import dataclass, field
from typing import Any

from evaluation.efficiency.sampling import MIB
from imaging.errors import KitError
from imaging.extras import how_to_install


class NoGpuError(KitError):
    """NVML finds no GPU: not a failure, the GPU columns stay empty."""


@dataclass(frozen=True)
class GpuMemory:
    """One card, by its physical index."""

    index: int
    name: str
    uuid: str
    driver: str
    handle: Any = field(repr=False)

    def used_mib(self) -> float:
        """Return total minus free memory of the whole card, as the official script reads it.

        Raises:
            KitError: The driver stopped answering.
        """
        import pynvml

        try:
            memory = pynvml.nvmlDeviceGetMemoryInfo(self.handle)
        except pynvml.NVMLError as error:
            raise KitError(f"GPU {self.index} stopped answering: NVML says {error}") from error
        return (int(memory.total) - int(memory.free)) / MIB

    def energy_mj(self) -> int | None:
        """Return the millijoules that the card has used since its driver was loaded.

        None: it does not tell, as cards before Volta.
        """
        import pynvml

        try:
            return int(pynvml.nvmlDeviceGetTotalEnergyConsumption(self.handle))
        except pynvml.NVMLError:
            return None


def find_gpu(index: int) -> GpuMemory:
    """Return the GPU of physical index `index`; the official script reads index 1.

    Raises:
        NoGpuError: The library, the driver or any GPU is missing.
        KitError: There are GPUs, but not this one.
    """
    try:
        import pynvml
    except ModuleNotFoundError as error:
        message = f"nvidia-ml-py is not installed; {how_to_install('evaluation')}"
        raise NoGpuError(message) from error
    try:
        pynvml.nvmlInit()
        count = int(pynvml.nvmlDeviceGetCount())
        if count == 0:
            raise NoGpuError("NVML finds no GPU")
        if index >= count:
            raise KitError(
                f"GPU {index} was requested, NVML finds {count}: give --gpu-index 0 to {count - 1}"
            )
        handle = pynvml.nvmlDeviceGetHandleByIndex(index)
        gpu = GpuMemory(
            index=index,
            name=str(pynvml.nvmlDeviceGetName(handle)),
            uuid=str(pynvml.nvmlDeviceGetUUID(handle)),
            driver=str(pynvml.nvmlSystemGetDriverVersion()),
            handle=handle,
        )
        pynvml.nvmlDeviceGetMemoryInfo(handle)  # some virtual GPUs do not tell
    except pynvml.NVMLError as error:
        raise NoGpuError(f"NVML tells of no GPU memory ({error})") from error
    return gpu
