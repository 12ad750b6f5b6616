"""Looking at traffic: what is asked of the agents, and the views of what they tell."""
