"""The rules of Playhead: pure functions over immutable values, free of I/O, clocks, chance and Temporal."""
