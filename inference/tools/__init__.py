"""What people look at beside a prediction: a picture, an estimate, what lies outside."""
