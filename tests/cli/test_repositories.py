"""`show --format repositories`: what has to be created before an apply."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from jsonschema import Draft202012Validator

from imgmigrate import schemas
from tests.render import samples

if TYPE_CHECKING:
    from tests.cli.helpers import Cli

ROWS = (
    *(
        samples.change(f"registry.new/team/api:{n}", "copy", "new", new_repository=True)
        for n in range(2)
    ),
    samples.change("registry.new/web:1", "copy", "new", new_repository=True),
    samples.change("registry.new/team/old:1", "copy", "new"),
)


def test_missing_repositories_are_one_document(cli: Cli) -> None:
    """Each once, with how many images wait for it; what exists is not listed."""
    samples.plan(*ROWS).write(cli.folder / "plan.out")
    assert cli("show", "plan.out", "--format", "repositories") == 0
    document = json.loads(cli.out)
    Draft202012Validator(schemas.schema("show")).validate(document)
    api = {"registry": "registry.new", "repository": "team/api", "namespace": "team", "images": 2}
    web = {"registry": "registry.new", "repository": "web", "namespace": None, "images": 1}
    assert document["repositories"] == [api, web]


def test_chosen_rows_need_fewer_repositories(cli: Cli) -> None:
    """--target and --only choose as everywhere."""
    samples.plan(*ROWS).write(cli.folder / "plan.out")
    assert cli("show", "plan.out", "--format", "repositories", "--target", "**/web") == 0
    assert [each["repository"] for each in json.loads(cli.out)["repositories"]] == ["web"]


def test_repositories_are_of_a_plan(cli: Cli) -> None:
    """A state knows only those that are there."""
    assert cli("show", "--format", "repositories") == 64
    assert "shows a plan: name its file" in cli.err
