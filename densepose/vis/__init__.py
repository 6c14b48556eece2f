"""Pictures for people to look at: predictions and truth on images, and the report of a run."""
