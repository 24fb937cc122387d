"""One client request: the loop of attempts, each attempt, and what an answer is made of."""
