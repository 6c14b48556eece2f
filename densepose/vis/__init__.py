"""Pictures: predictions and truth on images, and the report of a run."""
