"""What both services bring for whoever operates them: logs, metrics, checks of a machine.

Nothing in here knows a federation: the services say what they count and check.
"""
