"""Reads the metrics of a process, as Prometheus does."""

import httpx
from prometheus_client.parser import text_string_to_metric_families


class Scraped:
    """The metrics of one process at one time."""

    def __init__(self, text: str) -> None:
        self.families = {family.name: family for family in text_string_to_metric_families(text)}
        self._values = {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in self.families.values()
            for sample in family.samples
        }

    def value(self, name: str, **labels: str) -> float:
        """Return a sample; one that nobody has set yet is 0."""
        return self._values.get((name, frozenset(labels.items())), 0)


def scrape(port: int) -> Scraped:
    """Ask a process of this machine for its metrics."""
    answer = httpx.get(f"http://127.0.0.1:{port}/metrics", verify=False)
    assert answer.status_code == 200
    return Scraped(answer.text)
