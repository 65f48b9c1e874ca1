"""The networks and readouts of the tests of relevance."""

from tests.relevance.conftest import *  # noqa: F403
