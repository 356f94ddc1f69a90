"""Excludes all objects that exist when it is imported from garbage collection."""

import gc

gc.collect()
gc.freeze()
