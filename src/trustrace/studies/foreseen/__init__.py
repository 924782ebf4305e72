"""What a study takes on a machine that one does not have yet: by counted arithmetic and stated rates, without network and calibration."""
