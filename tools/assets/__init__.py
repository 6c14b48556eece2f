"""How densepose/surface/assets were made; nothing of it is shipped or needed to use them."""
