"""Fleets of fake vLLM servers that keep a ledger of every connection."""
