"""The pages for the operator, whatever framework serves them."""
