"""Sessions that sleep, and subscriptions by the hundred thousand: what each costs."""
