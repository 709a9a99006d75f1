"""What a training will need, reckoned from its config before a second of GPU time: memory, speed, time, cost. Without torch."""
