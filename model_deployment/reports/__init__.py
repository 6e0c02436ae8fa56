"""Makes degradation reports: writes inputs, runs the process that judges, stores the outcome."""
