"""Say what the library says as the command line knows it: its parameters by their options.

Pure. The library is all but `cli` and `render`: a text of it names a parameter in backticks.
"""

from __future__ import annotations

import re

__all__ = ["OPTIONS", "spoken"]

# Each parameter that a text of the library names, and how it is typed.
OPTIONS = {
    "allow_delete": "--allow-delete",
    "allow_delete_gone": "--allow-delete-gone",
    "allow_overwrite": "--allow-overwrite",
    "arch": "--arch",
    "auth": "--auth",
    "break": "--break",
    "config": "-c",
    "deep": "--deep",
    "dry_run": "--dry-run",
    "exclude": "--exclude",
    "explain": "--explain",
    "fail_fast": "--fail-fast",
    "forget": "--forget",
    "images": "--images",
    "json": "--json",
    "list": "--list",
    "lock_timeout": "--lock-timeout",
    "max_delete": "--max-delete",
    "max_duration": "--max-duration",
    "max_failures": "--max-failures",
    "max_plan_age": "--max-plan-age",
    "namespace": "--namespace",
    "os": "--os",
    "out": "--out",
    "outage": "--wait-for-registries",
    "parallelism": "--parallelism",
    "path": "--config",
    "plan": "--plan",
    "record": "--record",
    "refresh_referrers": "--refresh-referrers",
    "registry": "--registry",
    "replace": "--replace",
    "save": "--save",
    "scoped": "--scoped",
    "state": "--state",
    "strict": "--strict",
    "take_ownership": "--take-ownership",
    "target": "--target",
    "to": "--to",
    "upgrade": "--upgrade",
}
_NAMED = re.compile(r"`([a-z_]+)`")


def spoken(text: str) -> str:
    """Turn the parameters in a text of the library into options; what is none stays as it is."""
    return _NAMED.sub(lambda found: OPTIONS.get(found[1], found[0]), text)
