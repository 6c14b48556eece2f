"""Pages and folders about runs and scores: ``densepose report``, ``densepose score --output``."""
