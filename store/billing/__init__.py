"""Money in SQL: charges, the ledger and exact decimal amounts."""
