"""Migrate container images between registries: plan, review, apply, resume.

The public API, loaded when first used: `import imgmigrate` itself costs nothing. Its types are
in `__init__.pyi`; `examples/migrate.py` uses all of it.

    config = load_config(Path("imgmigrate.yaml"))
    plan = await make_plan(config)                      reads both sides, changes nothing
    plan.write(Path("plan.out"))
    plan = read_plan(Path("plan.out"))                  verified: not cut, not edited
    finished = await apply_plan(config, plan, sink=...)  exactly that; again: goes on
    back = await make_rollback(config, plan)             the way back, a plan like any other

`make_plan`, `apply_plan` and `make_rollback` take what the command line adds as `PlanOptions`,
`ApplyOptions` and `RollbackOptions`, and tell a `Sink` what happens, an `Event` at a time. Whatever
goes wrong is an `ImgmigrateError`. What is not named here is private, and may change.
"""

from importlib import import_module

__all__ = [
    "AccessDenied",
    "Action",
    "ApplyOptions",
    "Archived",
    "AuthenticationError",
    "BlobFinished",
    "BlobMoved",
    "BlobStarted",
    "Change",
    "Checked",
    "Config",
    "ConfigError",
    "Dangling",
    "Event",
    "FileUnwritable",
    "GuardError",
    "Header",
    "ImageFinished",
    "ImageStarted",
    "ImgmigrateError",
    "IntegrityError",
    "Interrupted",
    "Listed",
    "NamesSkipped",
    "NoRoom",
    "NotFound",
    "NotReached",
    "Observed",
    "OutOfReach",
    "Outcome",
    "Plan",
    "PlanOptions",
    "PlanRefused",
    "ProtocolError",
    "QuotaExhausted",
    "RateLearnt",
    "RateLimited",
    "Reason",
    "Receipt",
    "Refusal",
    "Rejected",
    "Retrying",
    "RollbackOptions",
    "RowConflict",
    "RowFailed",
    "RunFinished",
    "RunStarted",
    "Sink",
    "StateAway",
    "StateError",
    "StateLocked",
    "StateLost",
    "StateUnsaved",
    "StoreError",
    "Summary",
    "TransientError",
    "UsageError",
    "Waiting",
    "Warned",
    "__version__",
    "apply_plan",
    "load_config",
    "make_plan",
    "make_rollback",
    "read_plan",
]

__version__ = "0.1.0"

# Where each name lives.
_MODULES = {
    "imgmigrate.applying.apply": ("ApplyOptions", "apply_plan"),
    "imgmigrate.config.model": ("Config",),
    "imgmigrate.errors": (
        "AccessDenied",
        "Archived",
        "AuthenticationError",
        "ConfigError",
        "Dangling",
        "FileUnwritable",
        "GuardError",
        "ImgmigrateError",
        "IntegrityError",
        "Interrupted",
        "NoRoom",
        "NotFound",
        "NotReached",
        "OutOfReach",
        "PlanRefused",
        "ProtocolError",
        "QuotaExhausted",
        "RateLimited",
        "Rejected",
        "RowConflict",
        "RowFailed",
        "StateError",
        "StateAway",
        "StateLocked",
        "StateLost",
        "StateUnsaved",
        "StoreError",
        "TransientError",
        "UsageError",
    ),
    "imgmigrate.events": (
        "BlobFinished",
        "BlobMoved",
        "BlobStarted",
        "Checked",
        "Event",
        "ImageFinished",
        "ImageStarted",
        "Listed",
        "NamesSkipped",
        "Observed",
        "Outcome",
        "RateLearnt",
        "Receipt",
        "Refusal",
        "Retrying",
        "RunFinished",
        "RunStarted",
        "Sink",
        "Waiting",
        "Warned",
    ),
    "imgmigrate.foreign.load": ("load_config",),
    "imgmigrate.plan": (
        "Action",
        "Change",
        "Header",
        "Plan",
        "Reason",
        "Summary",
        "read_plan",
    ),
    "imgmigrate.planning.planner": ("PlanOptions", "make_plan"),
    "imgmigrate.planning.rollback.rollback": ("RollbackOptions", "make_rollback"),
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> object:
    """Load a public name from its module at its first use."""
    if name not in _HOMES:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    value: object = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Name what the package offers."""
    return sorted({*globals(), *__all__})
