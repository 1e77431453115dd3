"""The rules that every test must follow."""

import pytest


def test_the_id_of_every_test_is_plain_text(request: pytest.FixtureRequest) -> None:
    """Workers of pytest-xdist hand ids to each other, and people copy them."""
    ids = [item.nodeid for item in request.session.items]
    assert [one for one in ids if not (one.isascii() and one.isprintable())] == []
