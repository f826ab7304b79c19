"""A plan's file that was edited and sealed anew, applied by the real command."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import images
from tests.support.layouts import layout_tags, write_layout
from tests.support.signing import P256, public_pem

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cli.helpers import Cli

Rows = list[dict[str, Any]]
UNCOUNTED = ("unchanged", "transfer_bytes", "unsure_bytes", "spared_bytes", "unknown_sizes")


@pytest.fixture
def planned(cli: Cli) -> Cli:
    """A config, its plan in `plan.out`, and an image that no rule names."""
    write_layout(cli.folder / "images/os", "12", images.image("os"))
    write_layout(cli.folder / "secret", "1", images.image("secret"))
    cli.write_config()
    assert cli("plan", "--out", "plan.out") == 0
    return cli


def forge(cli: Cli, edit: Callable[[dict[str, Any], Rows], None], file: str = "plan.out") -> None:
    """Edit header and rows, sum them up and seal them."""
    path = cli.folder / file
    header, *rows, _ = [json.loads(line) for line in path.read_bytes().splitlines()]
    edit(header, rows)
    rows.sort(key=lambda row: str(row["address"]))
    counts = header["summary"]
    sizes = [row.get("transfer_bytes") for row in rows if row["action"] in ("copy", "update")]
    counts |= {
        key: sum(row["action"] == key for row in rows) for key in counts if key not in UNCOUNTED
    }
    counts["transfer_bytes"] = sum(size or 0 for size in sizes)
    counts["unknown_sizes"] = sizes.count(None)
    for key in ("unsure_bytes", "spared_bytes"):
        counts[key] = sum(row.get(key, 0) for row in rows if row["action"] in ("copy", "update"))
    lines = (json.dumps(line, ensure_ascii=False) + "\n" for line in (header, *rows))
    body = "".join(lines).encode()
    closing = {"sha256": hashlib.sha256(body).hexdigest(), "changes": len(rows)}
    path.write_bytes(body + json.dumps(closing).encode() + b"\n")


def stolen(cli: Cli) -> dict[str, Any]:
    """A row that copies the image that no rule names to a place that none names."""
    digest = layout_tags(cli.folder / "secret")["1"]
    return {
        "address": "oci:stolen:1",
        "action": "copy",
        "reason": "new",
        "source": {"reference": "oci:secret:1", "digest": digest},
        "before": None,
        "after": digest,
        "recorded": None,
        "media_type": images.image("secret").media_type,
    }


HEADERS: dict[str, Callable[[dict[str, Any]], object]] = {
    "as it is": lambda _: None,
    "of another config": lambda header: header.update(config_sha256="0" * 64),
    "of no config": lambda header: header.update(config_sha256=None),
    "of no config, with the ends": lambda header: header.update(
        config_sha256=None, ends={"source": "oci:secret", "destinations": ["oci:stolen"]}
    ),
    "of no config and no name": lambda header: header.update(
        config_sha256=None, state={"lineage": None, "sequence": 0, "head": ""}
    ),
    "undoing": lambda header: header.update(undoes="0123456789abcdef"),
    "undoing, of no config": lambda header: header.update(
        undoes="0123456789abcdef",
        config_sha256=None,
        state={"lineage": None, "sequence": 0, "head": ""},
    ),
    "refreshing": lambda header: header.update(refresh_only=True),
    "of an earlier version": lambda header: header.update(
        format_version="1.0", state={"lineage": None, "sequence": 0, "head": ""}
    ),
    "of a later version": lambda header: header.update(format_version="1.99"),
}


@pytest.mark.parametrize("case", HEADERS)
def test_no_header_makes_a_row_good_that_no_rule_asks_for(planned: Cli, case: str) -> None:
    """Exit 4, and not even the good row beside it is done."""

    def edit(header: dict[str, Any], rows: Rows) -> None:
        HEADERS[case](header)
        rows.append(stolen(planned))

    forge(planned, edit)
    assert planned("apply", "plan.out") == 4
    assert "Error: plan " in planned.err
    assert not (planned.folder / "stolen").exists()
    assert not (planned.folder / "bundle").exists()


def test_rows_are_named(planned: Cli) -> None:
    """By address and cause, and what to do."""
    forge(planned, lambda _, rows: rows.append(stolen(planned)))
    assert planned("apply", "plan.out") == 4
    assert "oci:stolen:1: no rule brings images of oci:secret there" in planned.err
    assert "plan again: imgmigrate plan --out plan.out" in planned.err


def test_a_summary_that_is_not_of_the_rows_is_refused(planned: Cli) -> None:
    """Before it is said that there is nothing to do."""
    path = planned.folder / "plan.out"
    header, *rows, _ = [json.loads(line) for line in path.read_bytes().splitlines()]
    header["summary"] |= {"copy": 0, "transfer_bytes": 0, "unchanged": 9}
    body = "".join(json.dumps(line) + "\n" for line in (header, *rows)).encode()
    closing = {"sha256": hashlib.sha256(body).hexdigest(), "changes": len(rows)}
    path.write_bytes(body + json.dumps(closing).encode() + b"\n")
    for arguments in ((), ("--target", "oci:bundle/**"), ("--json",)):
        assert planned("apply", "plan.out", *arguments) == 4
        assert "does not sum up its rows" in planned.err + planned.out
    assert planned("show", "plan.out") == 0
    assert planned.out.startswith("Plan: 1 to copy, 9 unchanged.")
    assert planned("show", "plan.out", "--format", "markdown") == 0
    assert "### Plan: 1 to copy, 9 unchanged." in planned.out
    assert planned("show", "plan.out", "--json") == 0
    assert json.loads(planned.out.splitlines()[0])["summary"]["copy"] == 1


@pytest.mark.parametrize(
    ("created_at", "code"),
    [
        ("2026-11-30T05:00:00", 4),
        ("2026-11-30", 4),
        ("yesterday", 4),
        ("", 4),
        ("2999-01-01T00:00:00Z", 4),
        ("9999-12-31T23:59:59-23:59", 4),
        ("0001-01-01T00:00:00+23:59", 4),
    ],
)
def test_a_time_that_tells_no_age_is_refused_where_age_counts(
    planned: Cli, created_at: str, code: int
) -> None:
    """By the option and by the config; where nobody asks for the age, it does no harm."""
    forge(planned, lambda header, _: header.update(created_at=created_at))
    assert planned("show", "plan.out") == 0
    assert planned("apply", "plan.out", "--max-plan-age", "1h") == code
    config = planned.folder / "imgmigrate.yaml"
    config.write_text(f"{config.read_text()}max_plan_age: 1h\n")
    assert planned("apply", "plan.out") == code
    assert not (planned.folder / "bundle").exists()
    planned.write_config()
    assert planned("apply", "plan.out") == 0


def test_an_action_of_a_later_version_is_shown_and_left_out(planned: Cli) -> None:
    """The others are done; exit 3, also where it is the only row."""
    later = {
        **stolen(planned),
        "address": "oci:bundle/os:0",
        "action": "attach",
        "reason": "linked",
    }
    forge(planned, lambda _, rows: rows.append(later))
    for form in ("text", "markdown", "json"):
        assert planned("show", "plan.out", "--format", form) == 0
        assert "attach" in planned.out
    assert planned("show", "plan.out") == 0
    assert "1 to copy, 1 unknown to this version" in " ".join(planned.out.split())
    assert planned("apply", "plan.out") == 3
    assert "does not know the action attach" in planned.out
    assert set(layout_tags(planned.folder / "bundle/os")) == {"12"}
    assert planned("plan", "--out", "plan.out") == 0
    forge(planned, lambda _, rows: rows.append(later))
    assert planned("apply", "plan.out") == 3
    assert "unknown" in planned.out


ONCE = ("--from", "oci:images/*:12", "--to", "oci:once/{match}")


def test_a_plan_without_a_config_is_applied_where_none_lies(planned: Cli) -> None:
    """Its own ends are the rule; rows that they do not join are refused."""
    (planned.folder / "imgmigrate.yaml").unlink()
    assert planned("plan", *ONCE, "--out", "once.out") == 0
    good = (planned.folder / "once.out").read_bytes()
    forge(planned, lambda _, rows: rows.append(stolen(planned)), "once.out")
    assert planned("apply", "once.out") == 4
    assert "oci:stolen:1: no rule brings" in planned.err
    (planned.folder / "once.out").write_bytes(good)
    assert planned("apply", "once.out") == 0
    assert set(layout_tags(planned.folder / "once/os")) == {"12"}
    assert planned("apply", "once.out") == 0
    for tag in ("12", "13"):  # what is replaced comes back, also without a config
        write_layout(planned.folder / "images/os", tag, images.image(f"newer {tag}"))
    assert planned("plan", *ONCE, "--out", "more.out") == 0
    assert planned("apply", "more.out") == 0
    assert planned("rollback", "more.out", "--out", "back.out") == 0
    assert planned("apply", "back.out") == 0
    assert layout_tags(planned.folder / "once/os")["12"] == images.image("os").top


def test_beside_a_config_the_ends_are_named_again(planned: Cli) -> None:
    """The command that plans prints the one that applies; its ends are the rule."""
    assert planned("plan", *ONCE, "--out", "once.out") == 0
    assert "imgmigrate apply --from 'oci:images/*:12' --to 'oci:once/{match}'" in planned.out
    assert planned("apply", "once.out") == 4
    assert "made without a config, and imgmigrate.yaml is here" in planned.err
    assert "imgmigrate apply --from 'oci:images/*' --to 'oci:once/{match}'" in planned.err
    assert planned("apply", "--from", "oci:secret", "--to", "oci:x", "once.out") == 4
    assert not (planned.folder / "once").exists()
    assert planned("apply", *ONCE, "once.out") == 0
    assert planned("apply", *ONCE, "plan.out") == 64
    assert "--from belongs to a plan without a config" in planned.err


def test_a_plan_of_ends_expands_no_variable_of_whoever_applies(
    planned: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The header of a plan is anybody's text."""
    (planned.folder / "imgmigrate.yaml").unlink()
    monkeypatch.setenv("SECRET", "secret")
    assert planned("plan", *ONCE, "--out", "once.out") == 0

    def edit(header: dict[str, Any], rows: Rows) -> None:
        header["ends"] = {"source": "oci:${SECRET}", "destinations": ["oci:stolen"]}
        rows.append(stolen(planned))

    forge(planned, edit, "once.out")
    assert planned("apply", "once.out") == 4
    assert not (planned.folder / "stolen").exists()


def test_a_one_shot_is_planned_and_applied_in_one(planned: Cli) -> None:
    """`apply --from --to` plans, and does it when told to."""
    assert planned("apply", *ONCE, "--auto-approve") == 0
    assert set(layout_tags(planned.folder / "once/os")) == {"12"}
    assert (planned.folder / "state/oneshot").is_dir()


@pytest.mark.parametrize("match", ["oci:images/**", "oci:link/**", "**/images/os:12"])
def test_a_plan_made_without_the_gate_brings_nothing_that_is_not_signed(
    planned: Cli, match: str
) -> None:
    """By whichever name a layout is meant; the gate is that of the config which apply reads."""
    config = planned.folder / "imgmigrate.yaml"
    (planned.folder / "link").symlink_to("images")
    config.write_text(config.read_text().replace("oci:images", "oci:link"))
    assert planned("plan", "--out", "plan.out") == 0
    (planned.folder / "cosign.pub").write_bytes(public_pem(P256))
    config.write_text(f"{config.read_text()}verify: [{{match: '{match}', key: cosign.pub}}]\n")
    assert planned("apply", "plan.out") == 6
    assert "has no signature; needed is one by cosign.pub" in " ".join(planned.out.split())
    assert not (planned.folder / "bundle").exists()
