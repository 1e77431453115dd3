"""`bbgram status`: what runs, and what piles up."""
