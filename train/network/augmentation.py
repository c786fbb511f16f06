"""Changes of training patches: a light augmentation, and nnU-Net's made repeatable."""

from batchgeneratorsv2.helpers.scalar_type import RandomScalar
from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform
from batchgeneratorsv2.transforms.intensity.brightness import MultiplicativeBrightnessTransform
from batchgeneratorsv2.transforms.intensity.contrast import BGContrast, ContrastTransform
from batchgeneratorsv2.transforms.intensity.gamma import GammaTransform
from batchgeneratorsv2.transforms.intensity.gaussian_noise import GaussianNoiseTransform
from batchgeneratorsv2.transforms.noise.gaussian_blur import GaussianBlurTransform
from batchgeneratorsv2.transforms.spatial.low_resolution import SimulateLowResolutionTransform
from batchgeneratorsv2.transforms.spatial.mirroring import MirrorTransform
from batchgeneratorsv2.transforms.spatial.spatial import SpatialTransform
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
from batchgeneratorsv2.transforms.utils.deep_supervision_downsampling import (
    DownsampleSegForDSTransform,
)
from batchgeneratorsv2.transforms.utils.random import RandomTransform
from batchgeneratorsv2.transforms.utils.remove_label import RemoveLabelTansform


def light_transforms(
    patch_size: tuple[int, ...],
    rotation: RandomScalar,
    scales: list[list[float]] | None,
    mirror_axes: tuple[int, ...] | None,
    scaling: tuple[float, ...],
) -> BasicTransform:
    """Return an augmentation that two CPU cores can keep up with: labels in one pass.

    Args:
        patch_size: Voxels (Z, Y, X) of what comes out.
        rotation: Range of angles in radians, about each axis.
        scales: Of the labels for nnU-Net's deep supervision; None: there is none.
        mirror_axes: Axes that may be flipped.
        scaling: Range of factors.
    """
    spatial = SpatialTransform(
        patch_size,
        patch_center_dist_from_border=0,
        random_crop=False,
        p_elastic_deform=0,
        p_rotation=0.4,
        rotation=rotation,
        p_scaling=0.4,
        scaling=scaling,
        p_synchronize_scaling_across_axes=0.5,
        bg_style_seg_sampling=False,
        mode_seg="nearest",
        border_mode_seg="constant",
        padding_value_seg=-1,
    )
    gamma = {"p_invert_image": 0, "synchronize_channels": True, "p_per_channel": 1}
    random = [
        (GaussianNoiseTransform((0, 0.1), 1, True), 0.15),
        (MultiplicativeBrightnessTransform(BGContrast((0.8, 1.2)), True, 1), 0.2),
        (ContrastTransform(BGContrast((0.75, 1.25)), True, True, 1), 0.2),
        (SimulateLowResolutionTransform((0.5, 1), True, True, None, None, 1), 0.15),
        (GammaTransform(gamma=BGContrast((0.7, 1.5)), p_retain_stats=1, **gamma), 0.25),
    ]
    steps: list[BasicTransform] = [spatial]
    steps += [RandomTransform(change, apply_probability=share) for change, share in random]
    if mirror_axes:
        steps.append(MirrorTransform(allowed_axes=mirror_axes))
    steps.append(RemoveLabelTansform(-1, 0))
    if scales is not None:
        steps.append(DownsampleSegForDSTransform(ds_scales=scales))
    return ComposeTransforms(steps)


def without_timing(transforms: BasicTransform) -> BasicTransform:
    """Let blurs take the direct convolution instead of whichever algorithm was faster just now."""
    for step in transforms.transforms:
        inner = step.transform if isinstance(step, RandomTransform) else step
        if isinstance(inner, GaussianBlurTransform):
            inner.benchmark = False
    return transforms
