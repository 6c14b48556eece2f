"""Time and memory of this package, with and without its CPU operators, and of detectron2's.

Each contestant works in a process of its own (two packages called ``densepose`` cannot share one)
and does the same work on equal inputs and weights; their runs alternate, one at a time.
"""
