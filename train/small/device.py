"""Samples and gradients of a training on its device: one after the other, or a GPU kept busy."""

from collections.abc import Callable, Iterator
from dataclasses import fields

import torch
from torch import Tensor

from train.small.loss import soft_loss
from train.small.recipe import SmallRecipe
from train.small.sampling import Sample, Sampler

Gradients = Callable[[Sample], Tensor]
"""Adds a sample's gradients to those of the network; returns its share of the step's loss."""
_TRIALS = 3
"""Passes before a CUDA graph is recorded: libraries choose and allocate in the first ones."""


def drawn_ahead(sampler: Sampler, batch: int, done: int, last: int) -> Iterator[list[Sample]]:
    """Yield the samples of steps `done` + 1 to `last`.

    On a GPU those of the next step are generated on a stream of their own, while the kernels of
    this step, which were launched already, are running.
    """
    device = sampler.device
    if device.type != "cuda":
        for step in range(done, last):
            yield _drawn(sampler, batch, step)
        return
    side = torch.cuda.Stream(device, priority=-1)
    main = torch.cuda.current_stream(device)
    for step in range(done, last):
        with torch.cuda.stream(side):
            samples = _drawn(sampler, batch, step)
        main.wait_stream(side)
        for sample in samples:
            for tensor in _tensors(sample):
                tensor.record_stream(main)
        yield samples


def _drawn(sampler: Sampler, batch: int, step: int) -> list[Sample]:
    return [sampler.draw(number) for number in range(step * batch, (step + 1) * batch)]


def gradients_of(network: torch.nn.Module, recipe: SmallRecipe) -> Gradients:
    """Return what adds the gradients of a sample to those of `network`.

    On a GPU the kernels of one sample are recorded once as a CUDA graph, with the first sample,
    and replayed for the others: launching them one by one would take longer than they run.
    """
    gradients = []
    for weight in network.parameters():
        weight.grad = torch.zeros_like(weight)
        gradients.append(weight.grad)

    def eager(sample: Sample) -> Tensor:
        image = sample.image.to(memory_format=torch.channels_last_3d)
        with torch.autocast(image.device.type, dtype=torch.bfloat16):
            outputs = network(image)
        logits = [output.float() for output in outputs[:3]]
        loss = soft_loss(logits, sample, recipe.fit.tumour_weight) / recipe.fit.batch
        loss.backward()
        return loss.detach()

    if next(network.parameters()).device.type != "cuda":
        return eager
    return _Recorded(gradients, eager)


class _Recorded:
    """The kernels of one sample as a CUDA graph."""

    def __init__(self, gradients: list[Tensor], eager: Gradients) -> None:
        self._gradients = gradients
        self._eager = eager
        self._graph: torch.cuda.CUDAGraph | None = None

    def __call__(self, sample: Sample) -> Tensor:
        """Replay the kernels with `sample`."""
        graph = self._graph or self._record(sample)
        for kept, tensor in zip(_tensors(self._sample), _tensors(sample), strict=True):
            kept.copy_(tensor)
        graph.replay()
        return self._loss

    def _record(self, sample: Sample) -> torch.cuda.CUDAGraph:
        """Record the kernels; the gradients so far stay as they are."""
        self._sample = Sample(*(torch.clone(tensor) for tensor in _tensors(sample)))
        before = [gradient.clone() for gradient in self._gradients]
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(_TRIALS):
                self._eager(self._sample)
        torch.cuda.current_stream().wait_stream(side)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._loss = self._eager(self._sample)
        for gradient, old in zip(self._gradients, before, strict=True):
            gradient.copy_(old)
        return self._graph


def _tensors(sample: Sample) -> list[Tensor]:
    return [getattr(sample, field.name) for field in fields(sample)]
