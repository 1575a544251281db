"""Work that can be killed and resumed: independent jobs and training state."""
