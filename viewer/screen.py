"""`view` for people: which cases, progress, what was written."""

import html
from pathlib import Path

from rich.progress import track

from imaging.errors import KitError, in_one_line
from imaging.files import make_folder, passed_over_message, prepare_file, replacing
from imaging.terminal import terminal, warn
from inference.ct import Source
from inference.inputs import found_inputs
from viewer.case import read_viewed
from viewer.page import filled, page_address, page_name, write_page

_LABELS = ".nii.gz"


def view_on_screen(
    ct: Path, labels: Path, truth: Path | None, output: Path, most_bytes: int
) -> None:
    """Write the page of a CT, or of each of several, and say what was written.

    Args:
        ct: What `predict` reads; several CTs where `labels` is a folder.
        labels: A label map, or a folder of `<case>.nii.gz`.
        truth: The same, to compare with.
        output: The page; a folder where `labels` is one.
        most_bytes: What a page may take.

    Raises:
        KitError: A file cannot be read, shown or written; of a folder, after all other cases.
    """
    if truth is not None and truth.is_dir() != labels.is_dir():
        raise KitError(f"give two files or two folders: {labels}, {truth}")
    if labels.is_dir():
        _write_folder(ct, labels, truth, output, most_bytes)
        return
    if output.is_dir():
        raise KitError(f"{output} is a folder; name the page, for example {output / 'page.html'}")
    prepare_file(output)
    _write_one(ct, labels, truth, output, most_bytes)


def _write_folder(
    ct: Path, labels: Path, truth: Path | None, output: Path, most_bytes: int
) -> None:
    done, failed = list[str](), dict[str, str]()
    with found_inputs(ct, labels) as found:
        make_folder(output)
        if found.passed_over:
            warn(passed_over_message(found.passed_over, ct))
        console = terminal(stderr=True)
        for case, source in track(
            found.cases.items(), "cases", len(found.cases), console=console, transient=True
        ):
            try:
                maps = labels / f"{case}{_LABELS}", _truth_of(case, truth)
                _write_one(source, *maps, output / page_name(case), most_bytes)
                done.append(case)
            except Exception as error:  # noqa: BLE001  # whatever it is, the other cases go on
                failed[case] = in_one_line(error, case)
    _write_index(done, failed, output / "index.html")
    if failed:
        listed = "; ".join(f"{case}: {why}" for case, why in failed.items())
        raise KitError(f"{len(failed)} of {len(found.cases)} cases cannot be shown: {listed}")


def _truth_of(case: str, folder: Path | None) -> Path | None:
    path = None if folder is None else folder / f"{case}{_LABELS}"
    if path is not None and not path.is_file():
        warn(f"{case}: {path} is missing; shown without")
        return None
    return path


def _write_one(ct: Source, labels: Path, truth: Path | None, page: Path, most_bytes: int) -> None:
    case = read_viewed(ct, labels, truth)
    for warning in case.warnings:
        warn(f"{case.name}: {warning}")
    size = write_page(case, page, most_bytes)
    terminal().print(f"{page}: {size / 1e6:.1f} MB", soft_wrap=True, highlight=False)


def _write_index(done: list[str], failed: dict[str, str], path: Path) -> None:
    """Write a list of links to the pages beside it."""
    rows = [f'<li><a href="{page_address(case)}">{html.escape(case)}</a>' for case in done]
    rows += [f"<li>{html.escape(case)}: {html.escape(why)}" for case, why in failed.items()]
    text = filled("index.html", {"count": str(len(done)), "rows": "\n".join(rows)})
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8", errors="backslashreplace")
