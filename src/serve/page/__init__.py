"""The page at /ui: static files with a strict policy, and no more of it in the server than their bytes."""
