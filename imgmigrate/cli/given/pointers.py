"""Point from the words and options of other tools to ours: what newcomers type first."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["OF_COMMANDS", "OF_OPTIONS", "OF_STATE", "no_such_command", "pointed"]

# Terraform's, skopeo's, regsync's, crane's and git's words, each with what does that here.
OF_COMMANDS: Mapping[str, str] = {
    "check": "`imgmigrate plan --detailed-exitcode` tells by its exit code what would change",
    "clean": "`imgmigrate plan --allow-delete` plans to delete our images that no rule asks for",
    "cp": "`imgmigrate copy SRC DST` plans, shows and applies in one go",
    "delete": "take the images out of the config, then `imgmigrate plan --allow-delete`",
    "destroy": "take the images out of the config, then `imgmigrate plan --allow-delete`",
    "diff": "`imgmigrate plan` shows what differs; it changes nothing",
    "drift": "`imgmigrate plan --refresh-only` shows who has moved since it was recorded",
    "fmt": "a config is YAML, and any layout of it is good",
    "force-unlock": "a lock ends with its process; `imgmigrate state lock` tells who holds it",
    "import": "`imgmigrate adopt GLOB` records what is at the destinations already",
    "inspect": "`imgmigrate state show ADDRESS` shows what is recorded of an image",
    "list": "`imgmigrate state list` lists the recorded images",
    "list-tags": "`imgmigrate plan --explain RULE` tells which tags a rule selects, and why",
    "lock": "`imgmigrate state lock` tells who writes the state; `imgmigrate pin` pins digests",
    "log": "`imgmigrate state log` lists the runs",
    "login": "logins of docker and podman are used; others stand under registries: in the config",
    "logs": "`imgmigrate state log` lists the runs; `--log-level debug` logs every request",
    "ls": "`imgmigrate state list` lists the recorded images",
    "migrate": "`imgmigrate plan --out plan.out`, then `imgmigrate apply plan.out`",
    "mirror": "`imgmigrate plan --out plan.out`, then `imgmigrate apply plan.out`",
    "once": "`imgmigrate apply` plans, asks and applies; unattended with `--auto-approve`",
    "output": "`imgmigrate show --format json` prints what the state holds",
    "prune": "`imgmigrate plan --allow-delete` plans to delete our images that no rule asks for",
    "push": "`imgmigrate apply` copies what the config asks for",
    "pull": "`imgmigrate apply` copies what the config asks for",
    "refresh": "`imgmigrate plan --refresh-only` shows who has moved since it was recorded",
    "resume": "`imgmigrate apply plan.out` again goes on where it was interrupted",
    "rm": "`imgmigrate state rm GLOB` erases records; images stay where they are",
    "run": "`imgmigrate apply` plans, asks and applies; unattended with `--auto-approve`",
    "server": "run `imgmigrate apply --auto-approve` from cron or a CI job",
    "sync": "`imgmigrate apply` plans, asks and applies; unattended with `--auto-approve`",
    "taint": "`imgmigrate plan --replace GLOB` writes images again",
    "test": "`imgmigrate validate --online` tries what the rules need",
    "undo": "`imgmigrate rollback RUN|PLAN` plans the way back",
    "unlock": "a lock ends with its process; `imgmigrate state lock` tells who holds it",
    "update": "`imgmigrate apply` updates what has moved at its source",
    "upgrade": "`imgmigrate pin --upgrade GLOB` takes over what the sources show now",
    "workspace": "each config has a state of its own; `--state DIR` names another",
}
# What is typed behind `state`.
OF_STATE: Mapping[str, str] = {
    "import": OF_COMMANDS["import"],
    "ls": OF_COMMANDS["list"],
    "replace-provider": "`imgmigrate state mv FROM TO` gives a record another address",
    "unlock": OF_COMMANDS["unlock"],
}
_LEVEL = "--log-level debug logs every request on stderr"
_LOGINS = "logins are docker's and podman's, or stand under registries: in the config"
_TLS = "TLS is set for a registry, under registries: in the config"
_PARALLEL = (
    "--parallelism N says how many images at once, concurrency: in the config how many blobs"
)
_RETRIES = (
    "what may heal is tried five times; --wait-for-registries TIME waits for one that is down"
)
_DRY = "plan changes nothing: `imgmigrate plan`"
_FORCE = "--allow-overwrite GLOB overwrites what is not ours, --replace GLOB writes ours again"
_YES = "--auto-approve does not ask"
_PRUNE = "--allow-delete plans to delete our images that no rule asks for"
OF_OPTIONS: Mapping[str, str] = {
    "-V": "`imgmigrate -V` prints the version",
    "-d": _LEVEL,
    "-f": "-c FILE names the config",
    "-o": "--out FILE saves what is made",
    "-q": "stdout is short as it is; 2>/dev/null hides the progress",
    "-v": "--verbose lists every row, --log-level debug logs every request",
    "-y": _YES,
    "--abort-on-error": "--fail-fast begins no image after one has failed",
    "--all": "all platforms are copied, unless platforms: in the config names some",
    "--authfile": _LOGINS,
    "--auth-file": "--auth FILE is image-syncer's; " + _LOGINS,
    "--backend-config": "the state is where state: in the config says, or --state PLACE",
    "--chdir": "-c FILE names the config; paths in it are relative to its folder",
    "--command-timeout": "--max-duration TIME ends an apply, to go on later",
    "--concurrency": _PARALLEL,
    "--config-file": "-c FILE names the config",
    "--creds": _LOGINS,
    "--debug": _LEVEL,
    "--delete": _PRUNE,
    "--dest": "--to DST names the destination of a plan without a config",
    "--dest-creds": _LOGINS,
    "--dest-tls-verify": _TLS,
    "--destination": "--to DST names the destination of a plan without a config",
    "--destroy": OF_COMMANDS["destroy"],
    "--dry-run": _DRY,
    "--force": _FORCE,
    "--images-file": "--images FILE names image-syncer's rules",
    "--input": _YES,
    "--insecure": "insecure: true stands for a registry, under registries: in the config",
    "--insecure-policy": "no signature policy is asked; leave it out",
    "--jobs": _PARALLEL,
    "--keep-going": "one image's failure stops no other, unless --fail-fast",
    "--lock": "an apply always locks the state; --lock-timeout TIME waits for another",
    "--log": "the log goes to stderr: --log-level info 2>FILE",
    "--logfile": "the log goes to stderr: --log-level info 2>FILE",
    "--missing": "what is there is left alone; overwrite: never in the config keeps what differs",
    "--multi-arch": "all platforms are copied, unless platforms: in the config names some",
    "--output": "--out FILE saves what is made",
    "--override-arch": "platforms: in the config names the platforms to copy",
    "--override-os": "platforms: in the config names the platforms to copy",
    "--parallel": _PARALLEL,
    "--platform": "platforms: in the config names the platforms to copy",
    "--plan": "the plan is an argument: `imgmigrate apply plan.out`",
    "--preserve-digests": "digests never change, unless platforms: cuts an index",
    "--proc": _PARALLEL,
    "--prune": _PRUNE,
    "--quiet": "stdout is short as it is; 2>/dev/null hides the progress",
    "--refresh": "--no-refresh takes recorded images as recorded",
    "--retries": _RETRIES,
    "--retry": _RETRIES,
    "--retry-times": _RETRIES,
    "--source": "--from SRC names the source of a plan without a config",
    "--src": "--from SRC names the source of a plan without a config",
    "--src-creds": _LOGINS,
    "--src-tls-verify": _TLS,
    "--tls-verify": _TLS,
    "--trace": _LEVEL,
    "--var": "a config takes variables of the environment: ${NAME}",
    "--var-file": "a config takes variables of the environment: ${NAME}",
    "--verbosity": _LEVEL,
    "--workers": _PARALLEL,
    "--yes": _YES,
}


def no_such_command(group: str, name: str) -> str | None:
    """Point from a word that is no command of a group to ours; None if nobody's tool has it."""
    pointer = (OF_STATE if group == "state" else OF_COMMANDS).get(name)
    whole = f"{group} {name}" if group == "state" else name
    return f"imgmigrate has no `{whole}`: {pointer}" if pointer else None


def pointed(error: click.NoSuchOption) -> click.UsageError:
    """Point from another tool's option to ours; the same error if nobody's tool has it."""
    pointer = OF_OPTIONS.get(error.option_name)
    if pointer is None:
        return error
    of = error.ctx.command_path if error.ctx is not None else "imgmigrate"
    return click.UsageError(f"{of} has no {error.option_name}: {pointer}", error.ctx)
