"""`make bench-peers`: the same conversation in Playhead and in the frameworks that people would choose instead."""
