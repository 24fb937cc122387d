"""What outlives a request: sessions, thinking, answers, values, uploads, and their clean-ups."""
