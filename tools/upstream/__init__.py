"""Comparison with detectron2's DensePose: models, evaluator, bootstrapping, speed; golden files.

The two packages are both called ``densepose``, so each works in a process of its own. Nothing of
the checkout is copied or kept. Run ``python -m tools.upstream --help``.

What touches this package stands in ``our_side``, what touches the checkout in ``detectron2_side``;
``inputs`` and ``steps`` serve both and import neither.
"""
