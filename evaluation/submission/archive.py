"""What can be checked of an image archive without Docker."""

import re
from pathlib import Path

from evaluation.efficiency.archives import image_tags, team_of, wrong_tags
from evaluation.submission.rules import RuleResult, RuleResults, result_of

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*\.tar\.gz")
_MB = 1_000_000


def check_archive(path: Path, limit_mb: float | None) -> RuleResults:
    """Judge the name, the size and the tag of an archive that is there.

    Args:
        path: What `docker save` wrote, compressed or not.
        limit_mb: Largest size in megabytes; None: the challenge's limit is not known.
    """
    wanted = f"{team_of(path)}:latest"
    return {
        "archive name": result_of(wrong_name(path), path.name),
        "archive size": _size(path.stat().st_size / _MB, limit_mb),
        "tag": result_of(wrong_tags(image_tags(path), wanted), wanted),
    }


def wrong_name(path: Path) -> str | None:
    """Say what an archive should be called; None where it is."""
    right = _NAME.fullmatch(path.name)
    return None if right else f"{path.name}: call it {team_of(path)}.tar.gz"


def _size(size_mb: float, limit_mb: float | None) -> RuleResult:
    if limit_mb is None:
        return RuleResult(
            "not checked", f"{size_mb:,.0f} MB; give --archive-limit to hold it to one"
        )
    size = f"{size_mb:,.0f} MB, the limit is {limit_mb:,.0f} MB"
    return result_of(size if size_mb > limit_mb else None, size)
