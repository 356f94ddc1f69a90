"""The rules of Playhead: pure functions on immutable values, without I/O, clocks, randomness or Temporal."""
