"""`playhead chat`: a conversation in the terminal."""
