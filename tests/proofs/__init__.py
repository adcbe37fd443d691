"""Proofs: every state, random histories on a simulated kernel, random trees on the real one."""
