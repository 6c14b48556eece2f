"""From files to what a detector trains on: loading, checking, registration, mapping, loaders."""
