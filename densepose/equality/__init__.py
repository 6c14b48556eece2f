"""How far this package's models are from detectron2's DensePose on equal weights and inputs.

Both packages are called ``densepose``: the checkout's works in a process of its own. Nothing of the
checkout is copied or kept.
"""
