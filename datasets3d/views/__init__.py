"""Data sets of rendered views: what varies, the plan of a build, the work, the files."""
