"""Agents and suites that come with Playhead, installed as `playhead.examples` so that every installation finds them."""
