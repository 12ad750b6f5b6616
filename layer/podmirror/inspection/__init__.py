"""What was seen of the traffic: exchanges and connections as records, and the views of them."""
