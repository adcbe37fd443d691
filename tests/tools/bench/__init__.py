"""What `make bench` measures. Machines are noisy, so programs run in turn, and their ratios count."""
