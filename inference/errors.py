"""Every error that the kit raises on purpose."""


class KitError(Exception):
    """Base class: the command line shows its one-line message and exits 1."""


class ManifestError(KitError):
    """The weights manifest and the files on disk disagree."""


class VolumeError(KitError):
    """A file is no CT that can be labelled."""


class GeometryError(KitError):
    """Shapes, patches or spacings do not fit together."""


class EngineError(KitError):
    """No engine can run the network here."""


def how_to_install(extra: str) -> str:
    """Say what brings a missing package: the kit is on no package index, its folder is installed.

    Args:
        extra: One of pyproject.toml's optional dependencies; "" for what every installation has.
    """
    what = f"'.[{extra}]'" if extra else "."
    return f"run `pip install {what}` in the kit's folder"
