"""The proofs: every state, random histories on a simulated kernel, random trees of processes on the real one."""
