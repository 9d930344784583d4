"""What a finished campaign knows: its record, headline, error budget, and what is looked at."""
