"""How a version meets its users, as plain values."""
