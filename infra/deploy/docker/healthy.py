"""The health check of a container. Its process must answer `/healthz` on the port that a variable names."""

import os
import sys
from http.client import HTTPConnection

if __name__ == "__main__":
    connection = HTTPConnection("127.0.0.1", int(os.environ[sys.argv[1]]), timeout=4)
    connection.request("GET", "/healthz")
    sys.exit(connection.getresponse().status != 200)
