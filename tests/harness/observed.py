"""A chat whose processes all serve metrics."""

from typing import Final

from tests.harness.deployment import Deployment
from tests.harness.engines import free_port
from tests.harness.metrics import Scraped, scrape
from tests.harness.waiting import until

PARTS: Final = ("edge", "worker", "functions", "beat")


class Observed:
    """One process of each kind, and what its metrics say."""

    def __init__(self, chat: Deployment) -> None:
        self.chat = chat
        self.ports = {part: free_port() for part in PARTS}
        chat.start_beat(metrics_port=self.ports["beat"])
        chat.start_worker(metrics_port=self.ports["worker"])
        chat.start_functions(metrics_port=self.ports["functions"])
        self.edge = chat.start_edge(metrics_port=self.ports["edge"])

    def of(self, part: str) -> Scraped:
        """Return the metrics of a process."""
        return scrape(self.ports[part])

    def value(self, name: str, **labels: str) -> float:
        """Return a sample of the kind of process that its name begins with."""
        part = name.split("_")[1]
        return self.of(part if part in PARTS else "functions").value(name, **labels)

    async def becomes(self, expected: float, name: str, **labels: str) -> None:
        """Wait until a sample has this value."""
        await until(lambda: self.value(name, **labels) == expected, f"{name} {labels} is {expected}")
