"""A surface made of a mesh: what ``densepose build-surface`` does, once for each mesh.

============  ======================================================================
mesh_file     reading and checking the mesh
parts         labels of a file, or a division into cells of like size
mirror        the mirror plane, and what a flip does to charts
flatten       cutting a part open and laying it flat
quality       folds and distortion of charts
build         all of these, one after another
surface_file  the result: written, read by training, evaluation and textures
============  ======================================================================
"""
