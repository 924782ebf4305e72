"""Units of work with an identity, records that are written last, executors. Knows no science."""
