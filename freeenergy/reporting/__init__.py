"""The report: a campaign record in, HTML and JSON out."""
