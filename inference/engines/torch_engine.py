"""PyTorch: any CUDA card in float16, and the reference in float32, on a card or a CPU.

It runs the manifest's ONNX network. On a card the whole image is copied there, and logits come back
blended. A patch and its logits stay at fixed addresses, so that its launches are recorded once a
case as a CUDA graph; that memory is taken with the first patch and given back after the last.
"""

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial

import torch

from imaging.errors import EngineError
from imaging.geometry import Shape
from inference.engines import Array, EngineOptions, one_line, too_few_gpus
from inference.engines.torch_network import Tensor, TorchNetwork
from inference.engines.torch_windows import as_tensor, logit_slabs_on
from inference.manifest import Manifest, checked_weights
from inference.sliding_window import Window

Compute = Callable[[], Tensor]
_log = logging.getLogger(__name__)


class TorchEngine:
    """A network on one device."""

    def __init__(
        self,
        network: TorchNetwork,
        patch: Shape,
        classes: int,
        device: torch.device,
        description: dict[str, str | int],
        record: Callable[[Compute], Compute] | None,
    ) -> None:
        """Set up.

        Args:
            network: On `device`.
            patch: What it takes (Z, Y, X).
            classes: Logits that it answers for each voxel.
            device: A card, or the CPU.
            description: For run.json.
            record: Maps a computation to one that replays it; None: each runs as it is.
        """
        self._network = network
        self._shape, self._answers = (1, 1, *patch), (1, classes, *patch)
        self._device = device
        self.description = description
        self._record = record
        self._given: Tensor | None = None
        self._run: Compute | None = None

    def infer(self, patches: Array) -> Array:
        """Map float32 [1, 1, Z, Y, X] to float32 logits [1, K, Z, Y, X]."""
        with self._in_one_line(patches.shape):
            answer: Array = self._logits(as_tensor(patches)).cpu().numpy()
        return answer

    def infer_many(self, patches: Iterable[Array]) -> Iterator[Array]:
        """Map each patch as `infer` does; free what the device holds for them after the last."""
        try:
            yield from map(self.infer, patches)
        finally:
            self.release()

    def logit_slabs(
        self, image: Array, window: Window, advance: Callable[[], None]
    ) -> Iterator[Array]:
        """Run every window and blend on the device, as `inference.sliding_window` does."""
        try:
            with self._in_one_line(self._shape):
                yield from logit_slabs_on(image, self._logits, window, advance, self._device)
        finally:
            self.release()

    def release(self) -> None:
        """Free what the device needs only while patches are under way."""
        self._given = self._run = None
        if self._device.type == "cuda":
            with suppress(RuntimeError):  # a card that has failed refuses this too
                torch.cuda.empty_cache()

    def _logits(self, patch: Tensor) -> Tensor:
        """Map a patch to logits on the device, which the next call may overwrite."""
        if patch.shape != self._shape:
            raise RuntimeError(f"the network takes {self._shape}")
        if self._given is None or self._run is None:
            self._given = torch.zeros(self._shape, device=self._device)
            self._run = self._recorded(partial(self._network, self._given))
        self._given.copy_(patch)
        answer = self._run()
        if answer.shape != self._answers:  # torch would blend some other shapes too
            raise RuntimeError(f"it answers {tuple(answer.shape)}, not {self._answers}")
        return answer

    def _recorded(self, compute: Compute) -> Compute:
        """Record a computation where this can be done; warn once where it cannot."""
        if self._record is None:
            return compute
        try:
            return self._record(compute)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            self._record = None
            why = one_line(error)[:200]
            _log.warning("torch runs without a CUDA graph, a little slower: %s", why)
            return compute

    @contextmanager
    def _in_one_line(self, shape: tuple[int, ...]) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:  # torch's own for a card are of this kind
            message = f"torch cannot run a patch of shape {tuple(shape)}: {one_line(error)[:300]}"
            raise EngineError(message) from error


def graph_of(compute: Compute, device: torch.device) -> Compute:
    """Record a computation on a card as a CUDA graph; return what replays it.

    Raises:
        RuntimeError: Something in it cannot be recorded.
    """
    with torch.cuda.device(device):
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            compute()  # libraries are loaded before a recording
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            answer = compute()

    def replay() -> Tensor:
        graph.replay()
        return answer

    return replay


@contextmanager
def load(manifest: Manifest, options: EngineOptions) -> Iterator[TorchEngine]:
    """Open the manifest's ONNX network on a card if there is one, else on the CPU.

    Without `--precision f32` a card computes in float16.
    """
    if options.precision in ("bf16", "int8"):
        raise EngineError("torch runs float16 on a card, else float32; use --precision f32 or auto")
    device = _device(options.device)
    is_card = device.type == "cuda"
    half = is_card and options.precision == "auto"
    path, threads = checked_weights(manifest, "onnx"), options.pinned_threads
    description: dict[str, str | int] = {
        "name": "torch",
        "version": torch.__version__,
        "device": torch.cuda.get_device_name(device) if is_card else "cpu",
        "precision": "f16" if half else "f32",
        "threads": threads,
    }
    network = TorchNetwork(path, half=half)
    record = partial(graph_of, device=device) if is_card else None
    with _pinned(threads):
        try:
            network = network.to(device)
        except RuntimeError as error:
            raise EngineError(f"torch cannot load {path.name}: {one_line(error)[:300]}") from error
        patch, classes = manifest.window.patch, len(manifest.labels) + 1
        engine = TorchEngine(network, patch, classes, device, description, record)
        try:
            yield engine
        finally:
            engine.release()


def _device(number: int) -> torch.device:
    """Return the card with a number, or the CPU if there is none at all and none was requested."""
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if number >= max(count, 1):
        raise EngineError(too_few_gpus(number, count))
    return torch.device("cuda", number) if count else torch.device("cpu")


@contextmanager
def _pinned(threads: int) -> Iterator[None]:
    """Set what else changes the numbers: threads, TF32 in place of float32, kernels by time."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    exact = {"benchmark": False, "deterministic": True, "allow_tf32": False}
    try:
        with torch.backends.cudnn.flags(enabled=True, **exact):
            yield
    finally:
        torch.set_num_threads(before)
