"""A local server that answers several requests at once."""

import pytest
from pytest_httpserver import HTTPServer


@pytest.fixture(scope="session")
def make_httpserver():
    server = HTTPServer(threaded=True)
    server.start()
    yield server
    server.clear()
    server.stop()
