"""The paper's tables: what it prints, our rows at any budget, and both beside each other."""
