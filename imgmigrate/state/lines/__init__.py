"""What every kind of state keeps: sealed lines, one an event, and snapshots of what they say."""
