"""Numbers with their nouns, for messages."""


def number_of(count: int, one: str, many: str = "") -> str:
    """Return "1 case", "2 cases"; or, with `many`, whatever goes with one and with many.

    Args:
        count: How many.
        one: The noun of one: "case", or with a verb: "case needs".
        many: The same of none or several; by default `one` with an s.
    """
    return f"{count:,} {one if count == 1 else many or one + 's'}"
