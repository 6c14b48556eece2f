"""From photos and videos to pictures, prediction files and a page: ``densepose predict``."""
