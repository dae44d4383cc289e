"""Where data lives: interfaces and, side by side, their local and AWS implementations. `open_lake` chooses."""
