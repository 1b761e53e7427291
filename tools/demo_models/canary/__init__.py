"""The demo speech model: a tiny Canary that knows the sentences of the manifest's `speech` part."""
