"""The time left, where it can be checked: over lines of a known rate, in real time."""

from __future__ import annotations

import json
import subprocess
import time
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest

from tests.benchmarks.relay import relayed
from tests.support.cli import command, imgmigrate, write_config
from tests.support.docker_registry import put_on_disk, serve
from tests.support.images import image, layer

if TYPE_CHECKING:
    from pathlib import Path

# Four streams of half a megabyte a second each: a quarter of a minute.
LAYERS, LAYER_SIZE, MBIT = 4, 8_000_000, 4
# Said in seconds, of a run whose last bytes the registry has to store yet.
SLACK_SECONDS = 2.5


def test_the_time_left_is_true_over_a_line_of_known_rate(tmp_path: Path) -> None:
    """Within 20 % from the tenth second on, in the events and in `status` beside the run."""
    made = image("slow", layers=[layer(f"slow {each}", LAYER_SIZE) for each in range(LAYERS)])
    put_on_disk(tmp_path / "old", "team/app", "1", made)
    with (
        serve(tmp_path / "old") as old,
        serve(tmp_path / "new") as new,
        relayed(new.host, mbit=MBIT) as relay,
    ):
        rule = f'  - source: "{old.host}/team/app"\n    destination: "{relay.host}/app"'
        write_config(tmp_path, rule, old.host, relay.host)
        imgmigrate(tmp_path, "plan", "--out", "plan.out")
        began = time.time()
        with subprocess.Popen(
            command("apply", "plan.out", "--json"),
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
        ) as process:
            beside = []
            while process.poll() is None:
                beside += [(time.time(), each) for each in _running(tmp_path)]
                time.sleep(1)
            assert process.stdout is not None
            stream = [json.loads(line) for line in process.stdout]
    assert process.returncode == 0
    told = [(_seconds(each), each) for each in stream if each["type"] == "apply_progress"]
    (end,) = (_seconds(each) for each in stream if each["type"] == "run_summary")
    _check(told, began, end)
    # It is written down every two seconds.
    _check(beside, began, end, late=2)


def _check(
    told: list[tuple[float, dict[str, Any]]], began: float, end: float, late: float = 0
) -> None:
    """Compare what was said from the tenth second on with when it really ended."""
    said = [(end - at, each["seconds_left"]) for at, each in told if began + 10 <= at < end]
    assert said
    for really, left in said:
        assert left == pytest.approx(really, rel=0.2, abs=SLACK_SECONDS + late), said


def _running(folder: Path) -> list[dict[str, Any]]:
    lines = imgmigrate(folder, "status", "--json").out.splitlines()
    found = [json.loads(line).get("running") for line in lines]
    return [each for each in found if each and each["moved"] is not None]


def _seconds(line: dict[str, Any]) -> float:
    return datetime.fromisoformat(line["@timestamp"]).timestamp()
