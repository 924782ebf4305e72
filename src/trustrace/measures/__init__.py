"""`Activations` become `Measurement`: probing, floors, and the numeric kernel that they share."""
