"""make demo: muinit on two real programs, and an explanation of what was seen."""

from __future__ import annotations

import subprocess
import sys

from tests.harness import MUINIT

SERVER = """
import http.server, sys
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
print(f"http://127.0.0.1:{server.server_port}/", file=open(sys.argv[1], "w"), flush=True)
server.serve_forever()
"""
CLIENT = """
import sys, time, urllib.request
time.sleep(1)
with urllib.request.urlopen(open(sys.argv[1]).readline(), timeout=5) as page:
    print("client: the server answered", page.status, "and now I fail", flush=True)
sys.exit(3)
"""


def main() -> None:
    import os
    import tempfile

    with tempfile.TemporaryDirectory() as directory:
        fifo = os.path.join(directory, "address")
        os.mkfifo(fifo)
        server = [sys.executable, "-c", SERVER, fifo]
        client = [sys.executable, "-c", CLIENT, fifo]
        print("$ muinit --trace-states --- WEB-SERVER --- CLIENT", flush=True)
        code = subprocess.run([*MUINIT, "--trace-states", "---", *server, "---", *client], check=False).returncode
    print(f"""
muinit exited {code}. What you saw, line by line:
  - RUNNING: both programs were started, the web server first.
  - The client fetched a page and exited 3. muinit restarts nothing: one program has ended, so it
    stops the other, in steps. Step 1 of 2 is SIGTERM; the clock gives it 2 seconds.
  - The server died of it at once, so muinit did not wait: DRAINING means that no program is left,
    and since there were no orphans either, EXITED followed in the same moment.
  - The last line says why: 3 is the client's. The server's death by muinit's SIGTERM is no failure.""")
    sys.exit(code != 3)


if __name__ == "__main__":
    main()
