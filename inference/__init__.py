"""Label fourteen FLARE structures on an abdominal CT; nothing here needs torch or nnU-Net."""

from typing import TYPE_CHECKING, Any

from imaging import __version__

if TYPE_CHECKING:
    from inference.predictor import Progress, Segmentation
    from inference.segmentation import open_predictor, segment
    from inference.settings import Settings

__all__ = ["Progress", "Segmentation", "Settings", "__version__", "open_predictor", "segment"]


def __getattr__(name: str) -> Any:
    """Import `segment` and what it needs (numpy, SimpleITK, an engine) only on first use."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from inference import segmentation

    return getattr(segmentation, name)
