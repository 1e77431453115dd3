"""Checks the settings of each deployable, and those that two deployables must agree on."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, TypeVar

from infra.cli.doctor.finding import Finding
from infra.cli.local import local_hint
from infra.settings.base import Settings, SettingsError, variable
from infra.settings.edge import EdgeSettings
from infra.settings.functions import FunctionSettings
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

    @classmethod
    def load(cls) -> "Configuration":
        """Load the settings of all deployables."""
        found = cls()
        found.edge = found._load(EdgeSettings, "an edge")
        found.worker = found._load(WorkerSettings, "a worker")
        found.functions = found._load(FunctionSettings, "functions")
        found.findings += _unknown_variables()
        if found.edge and found.worker:
            found.findings += _texts_too_long(found.edge, found.worker)
            found.findings += _pages_too_large(found.edge, found.worker)
        return found

    def _load(self, settings: type[_ANY], whose: str) -> _ANY | None:
        try:
            loaded = settings.load()
        except SettingsError as error:
            self.findings += [
                Finding("settings", f"those of {whose} cannot be used", line)
                for line in error.lines(local_hint())
            ]
            return None
        self.findings.append(Finding("settings", f"those of {whose} are complete"))
        return loaded


def _unknown_variables() -> Iterator[Finding]:
    classes = (EdgeSettings, WorkerSettings, FunctionSettings)
    known = {variable(name) for settings in classes for name in settings.model_fields}
    known |= {f"{name}_SECRET" for name in known} | {variable("data_dir")}
    for name in sorted(os.environ):
        if name.startswith(variable("")) and name not in known:
            yield Finding("settings", f"{name} is not a setting", "correct its name, or remove it")


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
