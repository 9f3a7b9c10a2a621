"""The names of the groups of classes by their number of images, over which scores are given."""

SHOT_GROUPS = ("many", "medium", "few")
"""Names of the groups of classes, those with most images first; see `diffrop.data.shot_groups`."""
GROUPS = ("all", *SHOT_GROUPS)
"""What a score such as fid/few is of: all classes, or those of one group."""
