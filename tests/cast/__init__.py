"""The programs that muinit runs in tests, and the harness that starts muinit and reads its output."""
