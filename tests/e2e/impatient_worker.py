"""`playhead worker`, but what it leaves undone when it is killed is taken up within seconds, not half a minute."""

from datetime import timedelta

from playhead.cli.main import app
from playhead.services import worker
from workflows import activity_options

if __name__ == "__main__":
    activity_options.SETTLE_ATTEMPT = timedelta(seconds=4)
    worker.STICKY_TIMEOUT = timedelta(seconds=1)
    app(["worker"])
