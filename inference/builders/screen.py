"""`inference engine build`: progress on stderr, a table of plans at the end."""

from rich.table import Table

from imaging.fitted_tables import number_column, show_table
from imaging.terminal import terminal
from inference.builders.tensorrt_build import Request, build_plans
from inference.engines.tensorrt_index import EnginePlan


def build_on_screen(request: Request) -> None:
    """Run `build_plans`, then print the plans that were built, also if a later one is refused.

    Raises:
        KitError: A plan cannot be built or is refused; those before it are printed all the same.
    """
    console, built = terminal(stderr=True), list[EnginePlan]()
    try:
        with console.status(f"building {request.engine} plans"):
            build_plans(request, built.append)
    finally:
        if built:
            show_table(_table(built, request), console)


def _table(plans: list[EnginePlan], request: Request) -> Table:
    title = f"{request.engine} {plans[0].version}: plans of {request.manifest.name}"
    numbers = map(number_column, ("MB", "seconds"))
    table = Table("for", *numbers, "parity with float32", title=title)
    for plan in plans:
        parity = plan.parity
        if not isinstance(parity, str):
            parity = f"{parity['label_agreement']:.5f} of labels equal"
        size = f"{plan.bytes / 1e6:.1f}"
        table.add_row(plan.gpu or plan.target, size, f"{plan.build_seconds:.2f}", parity)
    table.caption = f"in {request.folder}"
    return table
