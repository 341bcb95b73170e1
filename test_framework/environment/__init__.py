"""What the machine and its `.env` files must be like for services to run: made, checked, and each fault with its command."""
