"""Routes without a network: fixtures played, cut anywhere, counted; requests explained."""
