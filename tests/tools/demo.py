"""make demo: run muinit on two real programs, and explain what it printed."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile

from tests.cast.harness import MUINIT

WEB_SERVER = """
import http.server, sys
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
with open("address", "w") as fifo:
    print(f"http://127.0.0.1:{server.server_port}/", file=fifo)
server.serve_forever()
"""
CLIENT = """
import sys, time, urllib.request
with open("address") as fifo, urllib.request.urlopen(fifo.readline(), timeout=5) as page:
    print("client: the server answered", page.status, flush=True)
time.sleep(1)
sys.exit("client: and now I fail")
"""


def main() -> None:
    """Run the demo in a directory of its own."""
    # The scripts do not begin with "#!PYTHON", because the kernel cuts that line at 255 bytes and splits it at a space.
    with tempfile.TemporaryDirectory() as directory:
        os.chdir(directory)
        os.mkfifo("address")
        for name, script in (("web-server", WEB_SERVER), ("client", CLIENT)):
            with open(name, "w") as file:
                file.write(f"#!/bin/sh\nexec {shlex.join([sys.executable, '-c', script])}\n")
            os.chmod(name, 0o755)
        argv = ["--trace-states", "---", "./web-server", "---", "./client"]
        print("$ muinit", *argv, flush=True)
        code = subprocess.run([*MUINIT, *argv], check=False).returncode
    print(f"""
muinit exited with {code}. What you saw, line by line:
  - RUNNING: muinit started both programs, the web server first.
  - The client fetched a page and then exited with 1. muinit never restarts a program. When one ends, it
    stops the others in steps. Step 1 of 2 is SIGTERM, and the web server has 2 seconds to end.
  - The web server died of SIGTERM at once, so muinit did not wait any longer. DRAINING means that neither
    of the programs is left. There were no orphans either, so EXITED followed immediately.
  - The last line says why muinit exited with 1: that is the exit code of the client. The web server died
    of muinit's own SIGTERM, which is not a failure.""")
    sys.exit(code != 1)


if __name__ == "__main__":
    main()
