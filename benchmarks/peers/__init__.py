"""`make bench-peers`: the same conversation in Playhead and in what people would pick instead."""
