"""What `make dist`, `make bundle` and `make reproduce` run, and what they need, pinned by hash."""
