"""What people read is complete: every flag and key there is, and every known defect, is written about."""

import re
from pathlib import Path

import pytest
from paradedb_runner.control.workqueue import WorkQueue
from paradedb_runner.flags import DEPRECATED, IGNORED, FlagParser
from paradedb_runner.observe.metrics import Metrics
from paradedb_runner.watches.file import KEYS

ROOT = Path(__file__).parents[2]
COMPATIBILITY = (ROOT / "docs" / "compatibility.md").read_text()
LIST_OF_METRICS = COMPATIBILITY.partition("### All metrics of the runner")[2].partition("###")[0]
README = (ROOT / "runner" / "README.md").read_text()


@pytest.fixture
def flags(capsys):
    with pytest.raises(SystemExit):
        FlagParser().parse(["run", "--help"])
    return set(re.findall(r"^  (--[a-z0-9-]+)", capsys.readouterr().out, re.MULTILINE))


def test_every_flag_is_on_the_page_about_compatibility(flags):
    assert len(flags) > 30
    assert [flag for flag in sorted(flags) if f"`{flag}`" not in COMPATIBILITY] == []


def test_every_flag_that_does_something_is_in_the_readme(flags):
    useful = flags - IGNORED.keys() - DEPRECATED.keys() - {"--zap-log-level"}
    assert [flag for flag in sorted(useful) if f"`{flag}`" not in README] == []


def test_no_page_tells_of_a_flag_that_is_not_there(flags):
    told = set(re.findall(r"`(--[a-z0-9-]+)", COMPATIBILITY + README))
    assert told - flags - {"--flag", "--switch", "--help"} == set()


def test_every_key_of_watches_yaml_is_on_the_page_about_compatibility():
    assert [key for key in KEYS if f"`{key}`" not in COMPATIBILITY] == []


def test_every_metric_is_on_the_page_about_compatibility():
    page = Metrics()
    page.watch_queue(WorkQueue())
    names = set(re.findall(r"^# TYPE (\S+)", page.render().decode(), re.MULTILINE))
    names = {name for name in names if not name.startswith(("process_", "python_gc_"))}
    assert len(names) > 20
    told = " ".join(row.split("|")[1] for row in LIST_OF_METRICS.splitlines() if row.startswith("|"))
    assert names == set(re.findall(r"`([a-z_]+)`", told))


def test_every_known_defect_has_a_verdict():
    verdicts = dict(re.findall(r"^\| (D\d+) \|[^|]*\| (\w+) \|", COMPATIBILITY, re.MULTILINE))
    assert list(verdicts) == [f"D{number}" for number in range(1, 21)]
    assert set(verdicts.values()) <= {"same", "fixed", "switchable"}


def test_every_row_has_a_verdict_that_the_page_explains():
    top, _, rest = COMPATIBILITY.replace(LIST_OF_METRICS, "").partition("## watches.yaml")
    explained = set(re.findall(r"^\| (\w+) \| \w", top, re.MULTILINE)) - {"word"}
    heads = ("| |", "|---", "| key |", "| flag |", "| variable |", "| condition |")
    rows = [line for line in rest.splitlines() if line.startswith("|") and not line.startswith(heads)]
    assert len(rows) > 100
    assert [row for row in rows if not explained & {cell.strip() for cell in row.split("|")}] == []
