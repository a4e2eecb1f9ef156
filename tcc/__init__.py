"""tcc: rate-distortion studies of scalable learned compression for machines."""
