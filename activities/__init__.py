"""Everything that touches the world: model calls and settlement, as classes with injected dependencies."""
