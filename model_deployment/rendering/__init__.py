"""Numbers, axes and SVG pictures for people: one look for the dashboard and for reports. Pure."""
