"""Decides which model answers a request, keeps the loaded ones within the machine's memory, and each prompt within its model's context."""
