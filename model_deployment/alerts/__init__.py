"""Tells people, or their alert manager, of what goes bad and what recovers: the webhook."""
