"""What the page shows in each step."""
