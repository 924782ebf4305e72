"""The proxy-tuning study: a series of bases that borrow the difference between an expert and its anti-expert."""
