"""Fresh seeds for the leaders."""
