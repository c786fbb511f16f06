"""What an image holds, as CycloneDX, and its licences; runs where the image is built."""
