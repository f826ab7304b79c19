"""An honest Distribution server for tests, with profiles and fault switches.

`async with FakeRegistry() as registry:` runs in the test's own event loop;
`in_thread` runs one beside a blocking test; `python -m tests.fakes.registry` in a process.
"""

from tests.fakes.registry.access import User
from tests.fakes.registry.calls import Request
from tests.fakes.registry.faults import Stall
from tests.fakes.registry.profiles import PROFILES, Distribution2, Hostile
from tests.fakes.registry.server import FakeRegistry
from tests.fakes.registry.threaded import in_thread

__all__ = [
    "PROFILES",
    "Distribution2",
    "FakeRegistry",
    "Hostile",
    "Request",
    "Stall",
    "User",
    "in_thread",
]
