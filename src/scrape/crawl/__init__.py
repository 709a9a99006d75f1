"""Crawling the web in a child process: polite, kill-safe, kept out of private networks."""
