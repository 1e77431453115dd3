"""One line of the doctor's report."""

from collections.abc import Callable
from dataclasses import dataclass

from infra.outage import reason
from infra.settings.base import SettingsError


@dataclass(frozen=True)
class Finding:
    """The result of one check; `advice` is set when something must be done."""

    subject: str
    state: str
    advice: str | None = None

    def line(self) -> str:
        """Return the finding as one line of text."""
        mark = "WRONG" if self.advice else "ok   "
        advice = f" -> {self.advice}" if self.advice else ""
        return " ".join(f"{mark} {self.subject:<9} {self.state}{advice}".splitlines())


def finding(subject: str, advice: str, ask: Callable[[], Finding], what: str | None = None) -> Finding:
    """Return what `ask` finds. If it raises, the finding is that `what` cannot be used, and why.

    Raises ModuleNotFoundError: that says something of this installation, not of the service.
    """
    try:
        return ask()
    except ModuleNotFoundError:
        raise
    except SettingsError as error:
        return Finding(subject, "cannot be used with these settings", str(error))
    except Exception as error:  # whatever a client library raises: the service did not answer
        state = f"{what} cannot be used: {reason(error)}" if what else reason(error)
        return Finding(subject, state, advice)
