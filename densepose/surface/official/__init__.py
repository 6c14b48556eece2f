"""Readers of the files that DensePose, SMPL and detectron2 have released.

==========  ==========================================================================
surface     SMPL_subdiv.mat, SMPL_SUBDIV_TRANSFORM.mat, Pdist_matrix.pkl: every evaluation
charts      UV_symmetry_transforms.mat: flips in training; UV_Processed.mat
cse         meshes of embedding models: geometry, distances, mirror images, texture
prepare     ``densepose download evaluation``: checks and converts them once
export      ``--export-template``: the project's body in the form of these files
pickles     arrays out of pickles without running code; the model zoo reads with it, too
matlab      arrays out of MATLAB files
==========  ==========================================================================
"""
