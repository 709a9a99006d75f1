"""Who may ask what of the server, how much of it, and what is written down about that."""
