"""How muinit says what it knows: one place for each word."""
