"""Tests of muinit on real processes, as an ordinary process and as PID 1."""
