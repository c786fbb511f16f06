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
