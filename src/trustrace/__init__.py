"""See how trustworthiness forms inside a language model while it is being pre-trained."""
