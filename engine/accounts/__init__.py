"""With what credential a request goes, and whether it may: pools, logins, limits, breakers."""
