"""What a request may say: paths, parameters and JSON, strictly."""
