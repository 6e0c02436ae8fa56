"""The command line is built once for all of these tests."""

import tests.support.one_command_line  # noqa: F401
