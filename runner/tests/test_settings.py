"""Settings of single kinds, which come from the environment."""

import pytest
from paradedb_runner.kube.objects import GroupVersionKind
from support import DEMO, make_settings

DASHED = GroupVersionKind("my-db.example.com", "v1", "Demo")
SECRET = GroupVersionKind("", "v1", "Secret")


@pytest.mark.parametrize(
    ("gvk", "name"),
    [
        (DEMO, "MAX_CONCURRENT_RECONCILES_DEMO_EXAMPLE_COM"),
        (DEMO, "WORKER_DEMO_EXAMPLE_COM"),
        (DASHED, "MAX_CONCURRENT_RECONCILES_DEMO_MY-DB_EXAMPLE_COM"),
        (DASHED, "MAX_CONCURRENT_RECONCILES_DEMO_MY_DB_EXAMPLE_COM"),
        (SECRET, "MAX_CONCURRENT_RECONCILES_SECRET_"),
        (SECRET, "MAX_CONCURRENT_RECONCILES_SECRET"),
    ],
)
def test_the_limit_of_one_kind(gvk, name):
    assert make_settings(environ={name: "5"}).kind_limit(gvk) == 5


def test_the_new_name_of_a_limit_wins_over_the_old_one():
    environ = {"WORKER_DEMO_EXAMPLE_COM": "3", "MAX_CONCURRENT_RECONCILES_DEMO_EXAMPLE_COM": "4"}
    assert make_settings(environ=environ).kind_limit(DEMO) == 4


def test_a_kind_without_a_limit_may_use_all_slots():
    assert make_settings(run_slots=6).kind_limit(DEMO) == 6


def test_the_verbosity_of_one_kind():
    environ = {"ANSIBLE_VERBOSITY_DEMO_EXAMPLE_COM": "4"}
    settings = make_settings(environ=environ, ansible_verbosity=1)
    assert (settings.kind_verbosity(DEMO), settings.kind_verbosity(DASHED)) == (4, 1)


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        ("MAX_CONCURRENT_RECONCILES_DEMO_EXAMPLE_COM", "0", "must be a number from 1"),
        ("MAX_CONCURRENT_RECONCILES_DEMO_EXAMPLE_COM", "many", "must be a number from 1"),
        ("ANSIBLE_VERBOSITY_DEMO_EXAMPLE_COM", "8", "must be a number from 0 to 7"),
    ],
)
def test_a_value_that_makes_no_sense_is_told_and_not_used(name, value, complaint):
    settings = make_settings(environ={name: value})
    (text,) = settings.environment_problems([DEMO])
    assert name in text
    assert complaint in text
    assert (settings.kind_limit(DEMO), settings.kind_verbosity(DEMO)) == (2, 0)


def test_a_name_of_old_is_told_with_the_new_one():
    settings = make_settings(environ={"WORKER_DEMO_EXAMPLE_COM": "3"})
    assert list(settings.environment_problems([DEMO])) == [
        "WORKER_DEMO_EXAMPLE_COM is deprecated, use MAX_CONCURRENT_RECONCILES_DEMO_EXAMPLE_COM"
    ]


def test_what_is_right_is_not_told():
    settings = make_settings(environ={"ANSIBLE_VERBOSITY_DEMO_EXAMPLE_COM": "7"})
    assert list(settings.environment_problems([DEMO])) == []
