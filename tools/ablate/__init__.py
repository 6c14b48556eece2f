"""Many trainings, one table: which part of a system is worth how much."""
