"""The names that plans, reports and programs share: actions, reasons, and what each means."""
