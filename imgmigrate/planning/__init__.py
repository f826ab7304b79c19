"""From wish to change set: select, observe, diff, explain, plan."""
