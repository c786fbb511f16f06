"""`view` for people: which cases, progress, what was written."""

import html
from pathlib import Path

from rich.progress import track

from imaging.errors import KitError, in_one_line
from imaging.files import make_folder, prepare_file, replacing
from imaging.terminal import terminal
from inference.pipeline import find_cases
from viewer.case import read_case
from viewer.page import page_address, page_name, write_page

_LABELS = ".nii.gz"


def view_on_screen(
    ct: Path, labels: Path, truth: Path | None, output: Path, most_bytes: int
) -> None:
    """Write the page of a CT, or of each CT in a folder, and say what was written.

    Raises:
        KitError: A file cannot be read, shown or written; of a folder, after all other cases.
    """
    given = [path for path in (ct, labels, truth) if path is not None]
    if len({path.is_dir() for path in given}) > 1:
        names = ", ".join(f"{path} is a {'folder' if path.is_dir() else 'file'}" for path in given)
        raise KitError(f"give files or folders, not both: {names}")
    if ct.is_dir():
        _folder(ct, labels, truth, output, most_bytes)
        return
    if output.is_dir():
        raise KitError(f"{output} is a folder; name the page, for example {output / 'page.html'}")
    prepare_file(output)
    _one(ct, labels, truth, output, most_bytes)


def _one(ct: Path, labels: Path, truth: Path | None, page: Path, most_bytes: int) -> None:
    case = read_case(ct, labels, truth)
    console = terminal(stderr=True)
    for warning in case.warnings:
        console.print(f"{ct.name}: {warning}", soft_wrap=True, highlight=False)
    size = write_page(case, page, most_bytes)
    terminal().print(f"{page}: {size / 1e6:.1f} MB", soft_wrap=True, highlight=False)


def _folder(ct: Path, labels: Path, truth: Path | None, output: Path, most_bytes: int) -> None:
    cases = find_cases(ct)
    make_folder(output)
    done, failed = [], dict[str, str]()
    console = terminal(stderr=True)
    for case, path in track(cases.items(), "cases", len(cases), console=console, transient=True):
        of_truth = None if truth is None else truth / f"{case}{_LABELS}"
        if of_truth is not None and not of_truth.is_file():
            console.print(f"{case}: {of_truth} is missing; shown without", soft_wrap=True)
            of_truth = None
        try:
            _one(path, labels / f"{case}{_LABELS}", of_truth, output / page_name(case), most_bytes)
            done.append(case)
        except Exception as error:  # noqa: BLE001  # whatever it is, the other cases go on
            failed[case] = in_one_line(error, case)
    _write_index(done, failed, output / "index.html")
    if failed:
        listed = "; ".join(f"{case}: {why}" for case, why in failed.items())
        raise KitError(f"{len(failed)} of {len(cases)} cases cannot be shown: {listed}")


def _write_index(done: list[str], failed: dict[str, str], path: Path) -> None:
    """Write a list of links to the pages beside it."""
    rows = [f'<li><a href="{page_address(case)}">{html.escape(case)}</a>' for case in done]
    rows += [f"<li>{html.escape(case)}: {html.escape(why)}" for case, why in failed.items()]
    text = (
        '<!doctype html>\n<html lang="en"><meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
        "style-src 'unsafe-inline'\">\n<title>Cases</title>\n"
        "<style>body{font:1rem/1.6 system-ui,sans-serif;max-width:46rem;margin:1rem auto;"
        "padding:0 1rem;overflow-wrap:anywhere}</style>\n"
        f"<h1>{len(done)} cases</h1>\n<ul>\n" + "\n".join(rows) + "\n</ul>\n</html>\n"
    )
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8", errors="backslashreplace")
