"""Settings of one kind."""

from support import DEMO, make_settings


def test_limits_and_verbosity_of_one_kind():
    environ = {"MAX_CONCURRENT_RECONCILES_DEMO_EXAMPLE_COM": "3", "ANSIBLE_VERBOSITY_DEMO_EXAMPLE_COM": "4"}
    settings = make_settings(environ=environ)
    assert (settings.kind_limit(DEMO), settings.kind_verbosity(DEMO)) == (3, 4)
    assert (make_settings().kind_limit(DEMO), make_settings().kind_verbosity(DEMO)) == (2, 0)
