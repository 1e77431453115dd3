"""Checks the settings of each deployable, and those that two deployables must agree on."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeVar

from infra.cli.doctor.finding import Finding
from infra.cli.local import local_hint
from infra.logs import printable
from infra.settings.base import Settings, SettingsError, variable
from infra.settings.edge import EdgeSettings
from infra.settings.functions import FunctionSettings
from infra.settings.unknown import unknown_variables
from infra.settings.worker import WorkerSettings

_ANY = TypeVar("_ANY", bound=Settings)

_CHAR_BYTES: Final = 12
"""The longest form of a code point in a client's JSON: two escaped surrogates."""
_OUR_CHAR_BYTES: Final = 6
"""The longest form in ours: an escaped control character."""
_EVENT_BYTES: Final = 1_024
"""A generous allowance for what an event holds besides its text."""


@dataclass
class Configuration:
    """The settings that could be loaded, and what was found about them all."""

    findings: list[Finding] = field(default_factory=list)
    edge: EdgeSettings | None = None
    worker: WorkerSettings | None = None
    functions: FunctionSettings | None = None
    _complete: list[str] = field(default_factory=list)
    _wrong: dict[str, list[str]] = field(default_factory=dict)
    """For each problem, who has it."""

    @classmethod
    def load(cls) -> "Configuration":
        """Load the settings of all deployables."""
        found = cls()
        found.edge = found._load(EdgeSettings, "edges")
        found.worker = found._load(WorkerSettings, "workers")
        found.functions = found._load(FunctionSettings, "functions")
        found._report()
        found.findings += _unknown_variables()
        if found.edge and found.worker:
            found.findings += _texts_too_long(found.edge, found.worker)
            found.findings += _pages_too_large(found.edge, found.worker)
        return found

    def _load(self, settings: type[_ANY], whose: str) -> _ANY | None:
        try:
            loaded = settings.load()
        except SettingsError as error:
            for line in error.lines(local_hint()):
                self._wrong.setdefault(line, []).append(whose)
            return None
        self._complete.append(whose)
        return loaded

    def _report(self) -> None:
        """Name who has all they need, and each problem once, with those who cannot start because of it."""
        if self._complete:
            self.findings.append(Finding("settings", f"those of {_and(self._complete)} are complete"))
        for line, whose in self._wrong.items():
            self.findings.append(Finding("settings", f"{_and(whose)} cannot start", line))


def _and(words: Sequence[str]) -> str:
    """Return `a, b and c`."""
    *others, last = words
    return f"{', '.join(others)} and {last}" if others else last


def _unknown_variables() -> Iterator[Finding]:
    for name, nearest in unknown_variables(os.environ):
        advice = f"did you mean {nearest}?" if nearest else "correct its name, or remove it"
        yield Finding("settings", f"{printable(name)} is not a setting and has no effect", advice)


def _texts_too_long(edge: EdgeSettings, worker: WorkerSettings) -> Iterator[Finding]:
    needed = worker.text_chars * _CHAR_BYTES + _EVENT_BYTES
    if edge.payload_bytes < needed:
        yield Finding(
            "settings",
            f"a text of {variable('text_chars')} ({worker.text_chars}) may exceed "
            f"{variable('payload_bytes')} ({edge.payload_bytes})",
            f"raise {variable('payload_bytes')} to {needed}, or lower {variable('text_chars')}",
        )


def _pages_too_large(edge: EdgeSettings, worker: WorkerSettings) -> Iterator[Finding]:
    needed = worker.page_max * (worker.text_chars * _OUR_CHAR_BYTES + _EVENT_BYTES)
    if edge.send_bytes < needed:
        yield Finding(
            "settings",
            f"a page of {variable('page_max')} ({worker.page_max}) messages may exceed "
            f"{variable('send_bytes')} ({edge.send_bytes}), which disconnects the client",
            f"raise {variable('send_bytes')} to {needed}, or lower {variable('page_max')}",
        )
