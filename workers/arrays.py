"""Array parameters of statements."""

from collections.abc import Iterable


def array(values: Iterable[str | int | None]) -> str:
    """Render ids or numbers, which need no quoting, as an array literal, e.g. for `CAST(:ids AS uuid[])`.

    psycopg would inspect each element of a list, at a microsecond each, and a batch has thousands.
    """
    return "{" + ",".join(map(str, values)).replace("None", "NULL") + "}"
