"""Talking to models that answer: endpoints that speak the OpenAI protocol."""
