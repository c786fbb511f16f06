"""Rebuild the trained network from the plans alone, so that custom trainers export too."""

import warnings
from collections.abc import Mapping
from typing import Any

import torch

from imaging.errors import KitError
from inference.engines import one_line
from train.export.plans import Architecture

F16_MIN_ELEMENTS = 1024  # smaller tensors (norms, biases) stay float32: nothing is saved on them


class InImageAxes(torch.nn.Module):
    """A network that was trained on transposed axes, taking the image's own order."""

    def __init__(self, network: torch.nn.Module, axes_in_network: tuple[int, int, int]) -> None:
        super().__init__()
        self.network = network
        self._forward_axes = (0, 1, *(2 + axis for axis in axes_in_network))
        self._backward_axes = (0, 1, *(2 + axes_in_network.index(axis) for axis in range(3)))

    def forward(self, patches: torch.Tensor) -> torch.Tensor:
        """Map float32 [N, 1, Z, Y, X] to float32 logits [N, K, Z, Y, X]."""
        logits: torch.Tensor = self.network(patches.permute(self._forward_axes))
        return logits.permute(self._backward_axes)


def resolved_configuration(plans: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return configuration `name` with its inheritance resolved, old plans brought up to date.

    Raises:
        KitError: There is no such configuration, or nnU-Net cannot resolve it.
    """
    with warnings.catch_warnings(action="ignore"):  # of nnU-Net's own imports and of old plans
        from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

        try:
            manager = PlansManager(dict(plans)).get_configuration(name)
        except Exception as error:  # whatever nnU-Net makes of plans that are none
            raise KitError(
                f"configuration {name!r} cannot be read from the plans: {one_line(error)}"
            ) from error
    return dict(manager.configuration)


def build_network(
    architecture: Architecture,
    outputs: int,
    weights: Mapping[str, torch.Tensor],
    axes_in_network: tuple[int, int, int] = (0, 1, 2),
) -> torch.nn.Module:
    """Build the network in evaluation mode, without its deep supervision heads.

    It maps float32 [N, 1, Z, Y, X] to float32 logits [N, outputs, Z, Y, X].

    Raises:
        KitError: The plans do not describe a network, or the weights are of another one.
    """
    with warnings.catch_warnings(action="ignore"):  # of nnU-Net's own imports
        from nnunetv2.utilities.get_network_from_plans import get_network_from_plans

        try:
            network: torch.nn.Module = get_network_from_plans(
                architecture.class_path,
                architecture.arguments,
                architecture.imported_arguments,
                input_channels=1,
                output_channels=outputs,
                allow_init=False,
                deep_supervision=False,
            )
        except Exception as error:  # whatever its layers make of their arguments
            reason = one_line(error)
            raise KitError(f"{architecture.class_path} cannot be built: {reason}") from error
    try:
        network.load_state_dict(weights, strict=True)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]
        raise KitError(
            f"the checkpoint's weights are not of the plans' network: {reason}"
        ) from error
    network.float().eval()
    return network if axes_in_network == (0, 1, 2) else InImageAxes(network, axes_in_network)


def round_to_f16(network: torch.nn.Module) -> None:
    """Round the large weights to what float16 can hold, in place; they stay float32 tensors.

    Raises:
        KitError: A weight is too large for float16.
    """
    with torch.no_grad():
        for name, weight in network.named_parameters():
            if weight.numel() < F16_MIN_ELEMENTS:
                continue
            rounded = weight.half().float()
            if not torch.isfinite(rounded).all():
                raise KitError(f"weight {name} is too large for float16; export with --storage f32")
            weight.copy_(rounded)
