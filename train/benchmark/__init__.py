"""What training and label restoration cost: measured in turn, in processes of their own."""
