"""Plans, Checkout, the customer portal, Stripe's webhooks, and the ledger of payments."""
