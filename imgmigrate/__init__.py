"""Migrate container images between registries: plan, review, apply, resume.

The public API, loaded when first used: `import imgmigrate` itself costs nothing. Its types are
in `__init__.pyi`; `examples/migrate.py` uses all of it.

    config = load_config(Path("imgmigrate.yaml"))
    plan = await make_plan(config)                      reads both sides, changes nothing
    plan.write(Path("plan.out"))
    plan = read_plan(Path("plan.out"))                  verified: not cut, not edited
    finished = await apply_plan(config, plan, sink=...)  exactly that; again: goes on
    back = await make_rollback(config, plan)             the way back, a plan like any other

`make_plan`, `apply_plan` and `make_rollback` take what the command line adds as `PlanOptions`
(of `imgmigrate.planning.planner`), `ApplyOptions` (of `imgmigrate.applying.apply`) and
`RollbackOptions` (of `imgmigrate.planning.rollback.rollback`), and tell a `Sink` (of
`imgmigrate.events`) what happens. Whatever goes wrong is an `ImgmigrateError`.
"""

from importlib import import_module

__all__ = [
    "ImgmigrateError",
    "__version__",
    "apply_plan",
    "load_config",
    "make_plan",
    "make_rollback",
    "read_plan",
]

__version__ = "0.1.0"

_HOMES = {
    "ImgmigrateError": "imgmigrate.errors",
    "apply_plan": "imgmigrate.applying.apply",
    "load_config": "imgmigrate.foreign.load",
    "make_plan": "imgmigrate.planning.planner",
    "make_rollback": "imgmigrate.planning.rollback.rollback",
    "read_plan": "imgmigrate.plan",
}


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
