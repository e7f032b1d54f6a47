"""Sets in the layouts of other fields' readers: NeRF, BOP, COCO."""
