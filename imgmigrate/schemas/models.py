"""How pydantic checks what crosses a file or a user; all of it is frozen once it is checked.

A command uses few of the models that it imports, and to build what checks one takes a millisecond:
each is built when it is first used, with all that is inside it.
"""

from __future__ import annotations

from pydantic import ConfigDict

__all__ = ["LATER", "LENIENT", "STRICT"]

LATER = ConfigDict(defer_build=True)
# Fields that a later version adds are left out, and not refused.
LENIENT = ConfigDict(**LATER, frozen=True, extra="ignore")
# No message shows the input, which may be a secret.
STRICT = ConfigDict(**LATER, frozen=True, extra="forbid", hide_input_in_errors=True)
