"""One thing that an image holds."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from imaging.digest import file_sha256

Kind = Literal["application", "file", "library", "machine-learning-model", "platform"]
"""As CycloneDX calls it."""


@dataclass(frozen=True)
class ListedComponent:
    """A package, a program or a file of the image."""

    kind: Kind
    name: str
    version: str = ""
    purl: str = ""
    """Package URL; "" for what has none."""
    licences: tuple[str, ...] = ()
    """Names, as its own metadata has them."""
    expression: str = ""
    """SPDX expression, where its metadata has one instead of names."""
    texts: tuple[Path, ...] = ()
    """Files with its licences and notices."""
    path: str = ""
    """Where the file lies in the image, from /; "" for what is no single file."""
    sha256: str = ""
    parts: tuple["ListedComponent", ...] = ()

    @classmethod
    def of_file(
        cls, kind: Kind, file: Path, root: Path, licences: tuple[str, ...] = ()
    ) -> "ListedComponent":
        """Return a file of the system at `root`, with its digest."""
        place, digest = file.relative_to(root).as_posix(), file_sha256(file)
        return cls(kind, file.name, licences=licences, path=place, sha256=digest)

    @property
    def title(self) -> str:
        """Name and version."""
        return f"{self.name} {self.version}".strip()

    @property
    def licence(self) -> str:
        """All licences in one line."""
        return self.expression or ", ".join(self.licences) or "not said"
