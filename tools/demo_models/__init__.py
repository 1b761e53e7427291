"""Makes the demo models in `demo/` from nothing, and checks them against `demo/manifest.json`."""
