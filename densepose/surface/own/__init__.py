"""A surface made of a mesh of the user's own: what ``densepose build-surface`` does."""
