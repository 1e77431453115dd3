"""Settings for changing messages after they were sent, which workers and functions share."""

from typing import Annotated

from pydantic import Field

from infra.settings.base import Settings

_YEAR_S = 31_536_000

Window = Annotated[int, Field(ge=0, le=_YEAR_S)]


class ChangeSettings(Settings):
    """For how long messages can be changed."""

    edit_s: Window = 3_600
    """For so long after it was sent, its sender can edit a message; 0 forbids it.

    Workers and functions must have the same.
    """
    unsend_s: Window = 172_800
    """For so long after it was sent, its sender can unsend a message; 0 forbids it.

    Workers and functions must have the same.
    """

    @property
    def changeable_s(self) -> int:
        """For so long after it was sent, the text of a message can change. Reactions come at any time."""
        return max(self.edit_s, self.unsend_s)
