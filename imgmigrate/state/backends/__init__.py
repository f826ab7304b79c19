"""Where state lives; the local folder first."""
