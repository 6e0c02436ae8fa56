"""The page of a report: one HTML file for people, with the page of Evidently inside."""
