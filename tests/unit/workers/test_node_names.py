"""Workers have names of their own, wherever they run."""

from workers.app import node_name


def test_two_workers_with_one_number_on_one_host_have_two_names() -> None:
    assert node_name() != node_name()
