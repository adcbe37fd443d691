"""The programs that muinit runs in tests, and what starts muinit and reads what it says."""
