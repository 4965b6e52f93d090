"""What the service answers, one kind of route a file."""
