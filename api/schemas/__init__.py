"""Request bodies, response models and their examples, as the OpenAPI document shows them."""
